"""SIGHUP: the operator asks for the prompts to be read again, or the terminal is gone."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_STDERR = 2


def ignore_hangups() -> None:
    """Until they are heard: by default one ends the process, which is not what it was sent for."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@contextmanager
def hearing_hangups(
    *, asked: Callable[[], None], terminal_gone: Callable[[], None]
) -> Iterator[None]:
    """Calls one of the two for each SIGHUP, on the running loop; after the block they are ignored.

    A server that was started on a terminal is not to outlive it, with nobody to stop it and nowhere
    to write: when there is no terminal any more, that is what the signal says.
    """
    loop, on_terminal = asyncio.get_running_loop(), os.isatty(_STDERR)

    def heard() -> None:
        if on_terminal and not os.isatty(_STDERR):
            terminal_gone()
        else:
            asked()

    # Not the loop's own add_signal_handler: when the loop closes, it brings the default back.
    signal.signal(signal.SIGHUP, lambda *_: loop.call_soon_threadsafe(heard))
    try:
        yield
    finally:
        ignore_hangups()
