"""What this machine is, and who runs on which of its cores."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


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
