"""What this machine is, and what its processes use: cores, memory, CPU time. Linux's /proc."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PEAK = "5"
"""Written to clear_refs it makes the peak what is used now: proc(5)."""


def described() -> str:
    """The machine, by cores and memory alone."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(all_cores())} cores, {memory:.0f} GiB of memory"


def all_cores() -> frozenset[int]:
    """The cores that this process was given when it started."""
    return _CORES


_CORES = frozenset(os.sched_getaffinity(0))


def measured_cores() -> frozenset[int]:
    """Where a server that is measured runs: the first core, all by itself, if there are two."""
    return frozenset({min(_CORES)})


def other_cores() -> frozenset[int]:
    """Where everything else runs: database, model, load generator."""
    return _CORES - measured_cores() or _CORES


@contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """What this thread starts meanwhile runs on these cores, and so does the thread."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for each in found:
        for task in _entries(f"/proc/{each}/task"):
            found += map(int, _read(task / "children").split())
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and its descendants, all threads, those that have ended too."""
    return sum(map(_own_cpu_seconds, family(pid)))


def _own_cpu_seconds(pid: int) -> float:
    # Behind the name, which may hold spaces: utime, stime, cutime, cstime are fields 14 to 17.
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS_A_SECOND


def resident_mib(pid: int) -> float:
    """Memory in use by a process and its descendants, MiB."""
    return sum(_status_mib(each, "VmRSS") for each in family(pid))


def peak_mib(pid: int) -> float:
    """The most that they used since `forget_peak`, MiB."""
    return sum(_status_mib(each, "VmHWM") for each in family(pid))


def forget_peak(pid: int) -> None:
    """Begins a new peak."""
    for each in family(pid):
        Path(f"/proc/{each}/clear_refs").write_text(_PEAK)


def _status_mib(pid: int, name: str) -> float:
    for line in _read(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _entries(folder: str) -> list[Path]:
    try:
        return list(Path(folder).iterdir())
    except FileNotFoundError:
        return []


def _read(path: Path) -> str:
    """A file of /proc; "" if its process is gone."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
