"""A hundred replicas, and what becomes of turns whose replica dies or whose database goes away.

The rules are those of `history/mongodb_leases.py` and of the sweep in `history/mongodb.py`: a lease
is renewed three times its length; a turn is ended by whoever has seen the same lease run out twice,
a grace period apart; each replica sweeps, a thousand turns at most a time, in an order of its own.
"""

import random
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import simpy

from turnkeep_server.history import mongodb, mongodb_leases

Steps = Generator[simpy.Event, Any, None]

LEASE_SECONDS = 15.0
_READ_SECONDS, _READ_SECONDS_A_TURN, _WRITE_SECONDS = 0.002, 0.00002, 0.004
_RENEW_EVERY_SECONDS = LEASE_SECONDS / mongodb_leases._RENEWALS_A_LEASE
_SWEEP_EVERY_SECONDS = LEASE_SECONDS / mongodb._SWEEPS_A_LEASE
_GRACE_SECONDS = max(
    mongodb_leases._LEAST_GRACE_SECONDS, LEASE_SECONDS * mongodb_leases._GRACE_SHARE
)


@dataclass(eq=False, slots=True)
class _Turn:
    replica: int
    expires_at: float


@dataclass(slots=True)
class Ended:
    """When turns were ended by others, in seconds after the fault."""

    dead: list[float] = field(default_factory=list)
    """Of replicas that had died: meant to be."""
    alive: int = 0
    """Of replicas that lived: safe, as their commits match nothing, but their work is lost."""
    reads: int = 0
    writes: int = 0
    """What ending them cost the database."""


class Fleet:
    """Replicas that each run as many turns; all turns outlast the simulation."""

    def __init__(self, replicas: int, turns_each: int, seed: int) -> None:
        self.world = simpy.Environment()
        self.ended = Ended()
        self._dice = random.Random(seed)  # noqa: S311  # not a secret
        self._fault_at = 0.0
        self._dead: set[int] = set()
        self._away_until = 0.0
        """Until then each replica finds no database."""
        self._renewed_anew_after = [0.0] * replicas
        self._turns: set[_Turn] = set()
        for replica in range(replicas):
            mine = [_Turn(replica, LEASE_SECONDS) for _ in range(turns_each)]
            self._turns.update(mine)
            self.world.process(self._renewing(replica, mine))
            self.world.process(self._sweeping(replica))

    def kill(self, at: float, count: int) -> Steps:
        """`count` replicas die at once."""
        yield self.world.timeout(at)
        self._fault_at = at
        self._dead.update(range(count))

    def take_database_away(self, at: float, seconds: float, found_within: float) -> Steps:
        """No renewal and no sweep until it is back; each replica finds it some time within."""
        yield self.world.timeout(at)
        self._fault_at = at
        self._away_until = at + seconds
        self._renewed_anew_after = [
            self._dice.uniform(0.0, found_within) for _ in self._renewed_anew_after
        ]

    def _reachable(self, replica: int) -> Steps:
        back = self._away_until + self._renewed_anew_after[replica]
        if self._away_until and self.world.now < back:
            yield self.world.timeout(back - self.world.now)

    def _renewing(self, replica: int, mine: list[_Turn]) -> Steps:
        yield self.world.timeout(self._dice.uniform(0.0, _RENEW_EVERY_SECONDS))
        while replica not in self._dead:
            yield from self._reachable(replica)
            yield self.world.timeout(_WRITE_SECONDS)
            for turn in mine:
                turn.expires_at = self.world.now + LEASE_SECONDS
            yield self.world.timeout(_RENEW_EVERY_SECONDS)

    def _sweeping(self, replica: int) -> Steps:
        suspects: dict[_Turn, tuple[float, float]] = {}
        while replica not in self._dead:
            yield self.world.timeout(_SWEEP_EVERY_SECONDS * self._dice.uniform(0.5, 1.0))
            yield from self._reachable(replica)
            yield self.world.timeout(_READ_SECONDS)
            self.ended.reads += 1
            now = self.world.now
            expired = sorted(
                (each for each in self._turns if each.expires_at < now),
                key=lambda each: each.expires_at,
            )
            found = expired[: mongodb._SWEPT_AT_ONCE]
            yield self.world.timeout(len(found) * _READ_SECONDS_A_TURN)
            self._dice.shuffle(found)
            leases = {turn: turn.expires_at for turn in found}
            for turn, lease in leases.items():
                if turn.replica != replica:
                    yield from self._end_if_dead(turn, lease, suspects)

    def _end_if_dead(
        self, turn: _Turn, lease: float, suspects: dict[_Turn, tuple[float, float]]
    ) -> Steps:
        now = self.world.now
        seen_lease, seen_at = suspects.setdefault(turn, (lease, now))
        if seen_lease != lease:
            suspects[turn] = (lease, now)
        elif now - seen_at >= _GRACE_SECONDS:
            yield self.world.timeout(_WRITE_SECONDS)
            self.ended.writes += 1
            del suspects[turn]
            if turn in self._turns and turn.expires_at == lease:
                self._end(turn)

    def _end(self, turn: _Turn) -> None:
        self._turns.discard(turn)
        if turn.replica in self._dead:
            self.ended.dead.append(self.world.now - self._fault_at)
        else:
            self.ended.alive += 1


def replicas_killed(*, killed: int, turns_each: int, replicas: int = 100, seed: int = 1) -> Ended:
    """Some of the replicas die with all their turns; two minutes are simulated."""
    fleet = Fleet(replicas, turns_each, seed)
    fleet.world.process(fleet.kill(20.0, killed))
    fleet.world.run(until=140.0)
    return fleet.ended


def database_away(
    *, seconds: float, turns_each: int, found_within: float, replicas: int = 100, seed: int = 1
) -> Ended:
    """The database is away for that long and every replica lives; a minute more is simulated."""
    fleet = Fleet(replicas, turns_each, seed)
    fleet.world.process(fleet.take_database_away(20.0, seconds, found_within))
    fleet.world.run(until=80.0 + seconds)
    return fleet.ended
