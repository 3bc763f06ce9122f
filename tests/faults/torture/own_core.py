"""Which processes run on which cores."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def apart(service: int, *others: int) -> Iterator[None]:
    """The service gets a core of its own; this process and all others share the next one.

    So that what is measured is the service, not who won a core. Children that this process starts
    meanwhile stay on its core. With one core nothing happens, nor where it is not allowed.
    """
    cores = sorted(os.sched_getaffinity(0))
    ours = (os.getpid(), *others)
    if len(cores) > 1:
        _pin(service, {cores[0]})
        for pid in ours:
            _pin(pid, {cores[1]})
    try:
        yield
    finally:
        for pid in ours:
            _pin(pid, set(cores))


def _pin(pid: int, cores: set[int]) -> None:
    """All threads there are; those that come later inherit it of the thread that starts them."""
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), cores)
