"""What a process uses, out of /proc; and which processes run on which cores."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_MIB = 2**20


def rss_mib(pid: int) -> float:
    """The memory that a process has in RAM, in MiB; of one that has ended, 0."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB


def open_files(pid: int) -> int:
    """How many file descriptors a process has open, sockets among them."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def connections(pid: int, port: int) -> int:
    """How many of them are connections to this port of this machine."""
    sockets = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            sockets.add(os.readlink(each))
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    # proc(5): "sl local remote state … inode"; addresses are hexadecimal.
    rows = [line.split() for line in lines]
    to_port = [row for row in rows if int(row[2].partition(":")[2], 16) == port]
    return sum(f"socket:[{row[9]}]" in sockets for row in to_port)


def cpu_seconds(pid: int) -> float:
    """The CPU time of all threads of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_SECONDS


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
