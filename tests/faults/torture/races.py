"""Sections without a dead process: callers who race, repeat and leave; a server that freezes."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from pymongo import AsyncMongoClient

from tests.faults.torture.asked_model import AskedModel
from tests.faults.torture.calls import Call, Op
from tests.faults.torture.fleet import LEASE_SECONDS, SETTLE_SECONDS, fleet, maker
from tests.faults.torture.outcome import Outcome
from tests.faults.torture.sections import Plan, Service
from tests.faults.torture.sending import Errand
from tests.faults.torture.workload import Workload, workload
from tests.kit.mongod import Mongod
from turnkeep_server.background import running

_SERVERS, _CALLERS, _AT_EACH_DEED, _LEAVERS = 2, 12, 2, 6
_MODEL_FAULT_SHARE = 0.05
_LOST_EVERY_SECONDS = 1.5
_DATABASE = "torture"
# Longer than a lease and the time that its turn is watched after it has run out: a second.
_FROZEN_SECONDS = LEASE_SECONDS + 2.5
# A machine that is short of time must not look like a server that is dead.
_RACING_LEASE_SECONDS = 2.0
_SLOW_SECONDS = _RACING_LEASE_SECONDS + 2.5
# So that connections are lost while the model answers.
_LEAVING_SECONDS = 0.7
_COMMITS_WITHIN_SECONDS = 0.01
_TAKEN_OVER = "TURN_TAKEN_OVER"


async def races(plan: Plan) -> Outcome:
    """Callers race, send twice, send again, reuse request_ids and hang up at the commit."""
    outcome = Outcome("races")
    async with (
        AskedModel(plan.seed, _MODEL_FAULT_SHARE) as model,
        Mongod(plan.folder / "mongod") as mongod,
        maker(plan) as make,
        fleet(
            make,
            mongod.url_for(_DATABASE),
            model,
            _SERVERS,
            lease_seconds=_RACING_LEASE_SECONDS,
        ) as servers,
    ):
        model.slow = _Deeds.model_takes
        addresses = [each.address for each in servers]
        async with workload(addresses, model, plan, plan.seed) as load:
            load.start(_CALLERS)
            async with running(lambda: _lose_connections(mongod, outcome), "losing"):
                await _Deeds(load, outcome, plan).done_for(plan.sized(8, 120))
            await load.stop()
            await asyncio.sleep(SETTLE_SECONDS)
            await load.read_back()
            load.tell(outcome, plan.folder)
        # Nobody has died, and nobody was out of reach for as long as a lease.
        taken = sum(each.reason == _TAKEN_OVER for c in load.history.calls for each in c.attempts)
        outcome.violations["turn taken over from a living server"] += taken
        if plan.service is Service.TURNKEEP:
            await _look_for_turns_left(mongod, outcome)
    return outcome


async def frozen(plan: Plan) -> Outcome:
    """SIGSTOP of a server for longer than its leases: its turns are others' when it goes on."""
    outcome = Outcome("frozen")
    async with (
        AskedModel(plan.seed) as model,
        Mongod(plan.folder / "mongod") as mongod,
        maker(plan) as make,
        fleet(make, mongod.url_for(_DATABASE), model, _SERVERS) as servers,
    ):
        addresses = [each.address for each in servers]
        async with workload(addresses, model, plan, plan.seed) as load:
            load.start(_CALLERS)
            for _, server in zip(range(plan.sized(3, 100)), itertools.cycle(servers), strict=False):
                await asyncio.sleep(0.5)
                server.pause()
                await asyncio.sleep(_FROZEN_SECONDS)
                server.resume()
                outcome.faults["freezes of the service"] += 1
            await load.stop()
            await asyncio.sleep(SETTLE_SECONDS)
            await load.read_back()
            load.tell(outcome, plan.folder)
    return outcome


async def _lose_connections(mongod: Mongod, outcome: Outcome) -> None:
    """Now and then closes a connection instead of making an update, until cancelled.

    The driver then takes the whole server for lost, for half a second: what is written meanwhile
    waits, and is lost with its caller if that is all that waits for it.
    """
    fail = {"failCommands": ["update"], "closeConnection": True}
    async with AsyncMongoClient[dict[str, Any]](mongod.url) as client:
        while True:
            await asyncio.sleep(_LOST_EVERY_SECONDS)
            once = {"times": 1}
            await client.admin.command("configureFailPoint", "failCommand", mode=once, data=fail)
            outcome.faults["connections lost at a write"] += 1


async def _look_for_turns_left(mongod: Mongod, outcome: Outcome) -> None:
    """No turn may still run, or have been ended in its server's stead: that one lives."""
    async with AsyncMongoClient[dict[str, Any]](mongod.url) as client:
        turns = client[_DATABASE]["turns"]
        left = await turns.count_documents({"status": "RUNNING"})
        ended = await turns.count_documents({"status": "FAILED", "failure": _TAKEN_OVER})
    outcome.violations["turn that runs though its call has ended"] += left
    outcome.violations["turn of a living server ended by another"] += ended


class _Deeds:
    """What callers do beside calling and trying again: each deed at a session of its own."""

    _SLOW, _LEAVING = "медленно", "до свидания"

    @classmethod
    def model_takes(cls, question: str) -> float:
        """How many seconds the model takes for a deed's question."""
        if cls._SLOW in question:
            return _SLOW_SECONDS
        return _LEAVING_SECONDS if cls._LEAVING in question else 0.0

    def __init__(self, load: Workload, outcome: Outcome, plan: Plan) -> None:
        self._load = load
        self._outcome = outcome
        self._dice = random.Random(plan.seed)
        self._stopped = asyncio.Event()
        self._count = itertools.count()
        # Stock services have neither request_ids nor leases.
        keeps = plan.service is Service.TURNKEEP
        self._deeds = (
            (
                self._send_twice_at_once,
                self._send_again,
                self._add_again_later,
                self._reuse,
            )
            if keeps
            else ()
        ) + (self._ask_slowly,)

    async def done_for(self, seconds: float) -> None:
        """Does all deeds again and again, several at a time, until the time is up."""
        deeds = self._deeds * _AT_EACH_DEED + (self._leave_at_the_end,) * _LEAVERS
        tasks = [asyncio.create_task(self._repeat(each)) for each in deeds]
        await asyncio.sleep(seconds)
        self._stopped.set()
        await asyncio.gather(*tasks)

    async def _repeat(self, deed: Callable[[str], Awaitable[None]]) -> None:
        while not self._stopped.is_set():
            await deed(f"{self._load.name}.deed{next(self._count)}")
            self._outcome.faults[deed.__name__.strip("_").replace("_", " ")] += 1

    def _chat(self, session: str) -> Errand:
        op = self._dice.choice((Op.CHAT, Op.STREAM))
        errand = self._load.errand(op, session, self._load.chat_request(session))
        return replace(errand, first_seconds=10.0)

    async def _send_twice_at_once(self, session: str) -> None:
        """The same request to both servers, as a proxy does that does not wait."""
        errand = self._chat(session)
        one, other = await asyncio.gather(
            *(self._load.sent(errand, server) for server in range(_SERVERS))
        )
        self._record_both(errand, one, other, ended=max(one.ended, other.ended))

    async def _send_again(self, session: str) -> None:
        """A request whose answer has come, once more: its caller did not hear it."""
        errand = self._chat(session)
        one = await self._load.sent(errand, 0)
        other = await self._load.sent(errand, self._dice.randrange(_SERVERS))
        self._record_both(errand, one, other, ended=one.ended)

    async def _add_again_later(self, session: str) -> None:
        """An AddMessages once more, when another turn has come behind it."""
        errand = self._load.add(session)
        one = await self._load.sent(errand)
        await self._load.make(self._load.add(session))
        other = await self._load.sent(errand)
        self._record_both(errand, one, other, ended=one.ended)

    def _record_both(self, errand: Errand, one: Call, other: Call, ended: int) -> None:
        known = one if one.ok else other
        whole = replace(
            known,
            started=min(one.started, other.started),
            ended=ended,
            attempts=(*one.attempts, *other.attempts),
        )
        self._load.record(whole, errand)
        if one.ok and other.ok and (one.sequence, one.reply) != (other.sequence, other.reply):
            self._complain("two answers to one request", one, other)

    async def _reuse(self, session: str) -> None:
        """A request_id that stands for another request already: that must be refused."""
        first = await self._load.make(self._chat(session))
        request = self._load.chat_request(session, request_id=first.request_id)
        second = await self._load.sent(self._load.errand(Op.CHAT, session, request))
        if first.ok and second.ok:
            self._complain("request answered with another one's answer", first, second)

    async def _leave_at_the_end(self, session: str) -> None:
        """Hangs up when the last of the reply has come: the turn is just being committed."""
        text = f"{self._load.text()} {self._LEAVING}"
        request = self._load.chat_request(session, text=text)
        errand = replace(self._load.errand(Op.STREAM, session, request), first_seconds=10.0)
        wait = self._dice.uniform(0, _COMMITS_WITHIN_SECONDS)
        await self._load.make(replace(errand, hangs_up=wait, hangs_up_behind="🙂"))

    async def _ask_slowly(self, session: str) -> None:
        """The model takes longer than a lease, and somebody else waits at the other server."""
        text = f"{self._load.text()} {self._SLOW}"
        slow = self._load.errand(Op.CHAT, session, self._load.chat_request(session, text=text))
        slow = replace(slow, first_seconds=10.0)
        behind = asyncio.create_task(self._load.make(slow, 0))
        await asyncio.sleep(0.1)
        await self._load.make(self._chat(session), 1)
        await behind

    def _complain(self, what: str, *calls: Call) -> None:
        self._outcome.violations[what] += 1
        told = "\n".join(
            f"    {c.op} {c.texts}: {c.verdict} at {c.sequence}, {c.reply!r}" for c in calls
        )
        self._outcome.first_violation = self._outcome.first_violation or f"{what}\n{told}"
