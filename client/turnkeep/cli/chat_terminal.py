"""The terminal around the line editor: what ctrl-C and an end from outside do, and typing ahead."""

import asyncio
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

_ENDINGS = ("SIGTERM", "SIGHUP")  # by name: not every system has the second


class Interrupts:
    """While it is open, ctrl-C ends what `run` runs, at once, and nothing else.

    A handler of our own for the whole chat: asyncio's would end the program where ctrl-C comes
    between a reply and the next prompt. (At the prompt the line editor reads ctrl-C as a key.)
    """

    def __init__(self) -> None:
        self._running: asyncio.Task[None] | None = None
        self._before: Any = None

    async def run(self, job: Coroutine[Any, Any, None]) -> bool:
        """Runs it to its end, or to ctrl-C; whether it came to its end. Raises what it raises."""
        self._running = asyncio.create_task(job)
        try:
            await asyncio.wait({self._running})
            if self._running.cancelled():
                return False
            self._running.result()
            return True
        finally:
            self._running.cancel()
            self._running = None

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._before = signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(self, *exception: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        # Thread-safe, because that is what wakes a loop that sleeps.
        self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._running is not None:
            self._running.cancel()


def run_to_the_end(job: Coroutine[Any, Any, None]) -> None:
    """asyncio.run, which SIGTERM and SIGHUP cancel first: whatever the job has changed, such as the
    terminal, is put back, and only then the program ends of the signal as it would have.
    """
    told: list[int] = []

    async def run() -> None:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task  # noqa: S101  # asyncio.run makes one

        def end(number: int, frame: FrameType | None) -> None:
            told.append(number)
            loop.call_soon_threadsafe(task.cancel)

        for name in _ENDINGS:
            number = getattr(signal, name, None)
            # One that is ignored, as SIGHUP under nohup, stays so.
            if number and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, end)
        await job

    try:
        asyncio.run(run())
    finally:
        if told:
            signal.signal(told[0], signal.SIG_DFL)
            signal.raise_signal(told[0])


@contextmanager
def quiet_terminal() -> Iterator[None]:
    """No echo between prompts: keys that are pressed meanwhile wait for the next prompt.

    They would be written into the reply otherwise. Enter stays what the line editor takes for
    enter; ctrl-C goes on to be a signal. Where there is no termios, nothing is changed.
    """
    try:
        import termios
    except ImportError:
        yield
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    quiet = termios.tcgetattr(terminal)
    quiet[0] &= ~(termios.ICRNL | termios.INLCR)
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(terminal, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
