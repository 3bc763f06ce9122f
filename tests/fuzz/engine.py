"""Throws inputs at targets, keeps what makes one fail: made small, under a name of its own."""

import hashlib
import random
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz import seeds
from tests.fuzz.targets import TARGETS, Target

CORPUS = Path(__file__).with_name("corpus")
_MINIMISING_SECONDS = 20.0
_SLOW_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Crash:
    """A target that raised, or took too long; `place` is where, and what makes two crashes one."""

    target: str
    place: str
    data: bytes
    told: str


@dataclass(slots=True)
class Tally:
    """What a run on one target came to."""

    target: str
    inputs: int = 0
    became: Counter[str] = field(default_factory=Counter)
    """How many inputs became what, in the target's words."""
    crashes: dict[str, Crash] = field(default_factory=dict)
    """One a place."""
    slowest_seconds: float = 0.0
    seconds: float = 0.0


def fuzzed(target: str, inputs: int, seed: int) -> Tally:
    """Throws so many inputs at a target. The same seed makes the same ones, whatever happens."""
    tally, throw = Tally(target), TARGETS[target]
    began = time.monotonic()
    for data in inputs_of(target, inputs, seed):
        before = time.monotonic()
        crash = _crash(target, throw, data, tally.became)
        taken = time.monotonic() - before
        tally.inputs += 1
        tally.slowest_seconds = max(tally.slowest_seconds, taken)
        if crash is None and taken > _SLOW_SECONDS:
            crash = Crash(target, "slow", data, f"took {taken:.1f} s")
        if crash and crash.place not in tally.crashes:
            tally.crashes[crash.place] = crash
    tally.seconds = time.monotonic() - began
    return tally


def inputs_of(target: str, count: int, seed: int) -> Iterator[bytes]:
    """The corpus as it is, then inputs that are made anew or of those before."""
    kept = [path.read_bytes() for path in sorted(CORPUS.glob(f"{target}/*"))]
    yield from kept[:count]
    source = random.Random(f"{target} {seed}")
    make = seeds.MAKERS[target]
    for _ in range(count - len(kept)):
        yield make(source, kept)


def crash_of(target: str, data: bytes) -> Crash | None:
    """The crash that an input makes, if it makes one."""
    return _crash(target, TARGETS[target], data, Counter())


def minimised(crash: Crash, seconds: float = _MINIMISING_SECONDS) -> Crash:
    """A smaller input that crashes at the same place: pieces are left out for as long as they can.

    Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002.
    """
    if crash.place == "slow":
        return crash
    ends, size = time.monotonic() + seconds, len(crash.data) // 2
    while size and time.monotonic() < ends:
        at = 0
        while at < len(crash.data) and time.monotonic() < ends:
            smaller = crash_of(crash.target, crash.data[:at] + crash.data[at + size :])
            if smaller and smaller.place == crash.place:
                crash = smaller
            else:
                at += size
        size //= 2
    return crash


def kept(crash: Crash, corpus: Path = CORPUS) -> Path:
    """Writes the input into the corpus, where `make test` replays it; its path."""
    path = corpus / crash.target / hashlib.sha256(crash.data).hexdigest()[:12]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(crash.data)
    return path


def _crash(target: str, throw: Target, data: bytes, became: Counter[str]) -> Crash | None:
    try:
        became[throw(data)] += 1
    except Exception as error:  # noqa: BLE001  # whatever it is, that is what is looked for
        frames = traceback.extract_tb(error.__traceback__)
        ours = [each for each in frames if "turnkeep_server" in each.filename] or frames
        place = f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return Crash(target, place, data, "".join(traceback.format_exception(error)))
    return None
