"""What processes use: CPU time, memory, files, connections. Out of Linux's /proc."""

import contextlib
import os
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_PEAK = "5"
"""Written to clear_refs it makes the peak what is used now: proc(5)."""


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


def _own_cpu_seconds(pid: int) -> float:
    # Behind the name, which may hold spaces: utime, stime, cutime, cstime are fields 14 to 17.
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS_A_SECOND


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
