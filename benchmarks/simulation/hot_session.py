"""One session that many callers use at once, through one replica or a hundred.

A session's turns run one after another, so a session carries one turn in the time that a model
takes, and no number of replicas changes that. What is asked here: how much of it is lost while
requests on other replicas wait by polling, how fair that is, and what happens above the limit.
The rules are those of `reservation.py` and `history/waiting.py`.
"""

import math
import random
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import simpy

from turnkeep_server.history import waiting

Steps = Generator[simpy.Event, Any, None]

_LOOK_AGAIN_SECONDS = (0.001, 0.005)
_COURTESY_SECONDS = waiting._COURTESY_ENDS_AFTER.total_seconds()


@dataclass(frozen=True, slots=True)
class Times:
    """How long things take, in seconds. A model's answers are log-normal around their mean."""

    read: float = 0.002
    write: float = 0.004
    model_mean: float = 2.0
    model_sigma: float = 0.6
    deadline: float = 60.0

    def model(self, dice: random.Random) -> float:
        """The time of one answer."""
        median = self.model_mean / math.exp(self.model_sigma**2 / 2)
        return median * dice.lognormvariate(0.0, self.model_sigma)


@dataclass(slots=True)
class Seen:
    """What came of it."""

    waits: list[float] = field(default_factory=list)
    """Seconds from the call until its turn began."""
    timeouts: int = 0
    polls: int = 0
    conflicts: int = 0
    busy_seconds: float = 0.0
    """While a model worked for the session."""
    turns_of: Counter[int] = field(default_factory=Counter)
    """Turns by replica."""
    overlaps: int = 0
    """Turns that began while another ran: 0, or the rules are broken."""


@dataclass(slots=True)
class _Turn:
    owner: int
    began: float
    ended: float | None = None
    awaited_by: int | None = None


class HotSession:
    """The session and its replicas, in one simulated world."""

    def __init__(self, replicas: int, times: Times, seed: int) -> None:
        self.world = simpy.Environment()
        self.seen = Seen()
        self._times = times
        self._dice = random.Random(seed)  # noqa: S311  # not a secret
        self._lines = [simpy.Resource(self.world) for _ in range(replicas)]
        self._turns: list[_Turn] = []

    def arrivals(self, turns_a_second: float, seconds: float) -> Steps:
        """Calls at random (Poisson), each to a random replica, as a load balancer spreads them."""
        while self.world.now < seconds:
            yield self.world.timeout(self._dice.expovariate(turns_a_second))
            self.world.process(self._call(self._dice.randrange(len(self._lines))))

    def _call(self, replica: int) -> Steps:
        arrived = self.world.now
        ends = arrived + self._times.deadline
        with self._lines[replica].request() as first_in_line:
            yield first_in_line | self.world.timeout(self._times.deadline)
            turn = None
            if first_in_line.triggered:
                turn = yield from self._place(replica, ends)
            if turn is None:
                self.seen.timeouts += 1
                return
            self.seen.waits.append(self.world.now - arrived)
            self.seen.turns_of[replica] += 1
            answering = self._times.model(self._dice)
            yield self.world.timeout(answering)
            self.seen.busy_seconds += answering
            yield self.world.timeout(self._times.write)
            turn.ended = self.world.now

    def _place(self, replica: int, ends: float) -> Generator[simpy.Event, Any, _Turn | None]:
        others_passed = False
        while self.world.now < ends:
            yield self.world.timeout(self._times.read)
            head, last = len(self._turns), self._turns[-1] if self._turns else None
            if last and last.ended is None:
                yield from self._wait_until_idle(last, replica, ends)
            elif last and not others_passed and self._awaited_elsewhere(last, replica):
                others_passed = True
                yield self.world.timeout(self._courtesy(last))
            else:
                yield self.world.timeout(self._times.write)
                if len(self._turns) == head:
                    return self._begun(replica)
                self.seen.conflicts += 1
                yield self.world.timeout(self._dice.uniform(*_LOOK_AGAIN_SECONDS))
        return None

    def _begun(self, replica: int) -> _Turn:
        self.seen.overlaps += bool(self._turns) and self._turns[-1].ended is None
        turn = _Turn(replica, self.world.now)
        self._turns.append(turn)
        return turn

    def _wait_until_idle(self, running: _Turn, replica: int, ends: float) -> Steps:
        if running.owner != replica:
            yield self.world.timeout(self._times.write)
            running.awaited_by = replica
        pause = waiting._FIRST_POLL_SECONDS
        while self.world.now < ends:
            yield self.world.timeout(pause)
            yield self.world.timeout(self._times.read)
            self.seen.polls += 1
            if running.ended is not None:
                return
            grown = min(pause * waiting._POLL_GROWTH, waiting._LONGEST_POLL_SECONDS)
            pause = grown * self._dice.uniform(0.75, 1.0)

    def _awaited_elsewhere(self, last: _Turn, replica: int) -> bool:
        recent = last.ended is not None and self.world.now - last.ended <= _COURTESY_SECONDS
        return recent and last.awaited_by not in {None, replica}

    def _courtesy(self, last: _Turn) -> float:
        lasted = (last.ended or last.began) - last.began
        return min(lasted / 2, waiting._LONGEST_POLL_SECONDS) + waiting._FIRST_POLL_SECONDS


def simulated(
    *, replicas: int, share: float, seconds: float, times: Times | None = None, seed: int = 1
) -> Seen:
    """Offers `share` of what the session can carry (1 / mean model time), for that long."""
    times = times or Times()
    session = HotSession(replicas, times, seed)
    session.world.process(session.arrivals(share / times.model_mean, seconds))
    session.world.run(until=seconds)
    return session.seen
