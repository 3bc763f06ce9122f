"""How a request gets its place in a session: first come in this process, one order in all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from turnkeep_server.commands import Claim, ConflictPolicy
from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import (
    RequestIdReused,
    SequenceMismatch,
    SessionBusy,
    WaitTimeout,
)
from turnkeep_server.history.contract import (
    ChatMessageHistory,
    RequestIdTaken,
    SequenceTaken,
    Tail,
)
from turnkeep_server.history.waiting import (
    LEAST_READ_SECONDS,
    let_others_pass,
    look_again_soon,
    wait_until_idle,
)
from turnkeep_server.recording import happened, step
from turnkeep_server.turns import UNFINISHED, SessionKey, Turn, TurnStatus

T = TypeVar("T")

_LOOK_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Replay:
    """The request was completed before; this is its turn."""

    turn: Turn


class Reservations:
    """The queues in which this process's requests wait for a session, first come first served.

    (A request that may be a repeated one looks for its first attempt before it stands in line.)
    They only keep requests of one process from racing; the order itself is the store's unique
    (session, sequence), for any number of processes.
    """

    def __init__(self) -> None:
        # Weak: a queue lives as long as somebody stands in it, so idle sessions cost nothing.
        self._queues: WeakValueDictionary[SessionKey, _Queue] = WeakValueDictionary()

    def let_pass(self, session: SessionKey) -> None:
        """Newcomers to the session no longer stand behind those who are there now.

        For a session that was cleared: the turn that held it is gone, though its model may still be
        answering.
        """
        self._queues.pop(session, None)

    @asynccontextmanager
    async def place(
        self,
        history: ChatMessageHistory,
        claim: Claim,
        deadline: Deadline,
        *,
        turns_to_read: int,
        take: Callable[[Tail], Awaitable[T]],
    ) -> AsyncIterator[T | Replay]:
        """Holds the session while the body runs.

        `take(tail)` stores the turn at `tail.head + 1` and may raise SequenceTaken or
        RequestIdTaken: then it is called again on a new tail. Yields what it returned, or a Replay
        if the request had been completed before. Raises SessionBusy, SequenceMismatch,
        RequestIdReused or WaitTimeout.
        """
        queue = self._queues.setdefault(history.session, _Queue())
        contended = queue.locked()
        if contended:
            replay = await _answer_without_queueing(history, claim, deadline, queue)
            if replay:
                yield replay
                return
        async with _in_line(queue, history, deadline):
            queue.holder_request_id = claim.request_id
            yield await _take_place(history, claim, deadline, turns_to_read, take, waited=contended)


class _Queue(asyncio.Lock):
    """First come, first served. `holder_request_id`: of the request at its head.

    `standing`: how many stand in it, the one at its head included.
    """

    holder_request_id = ""
    standing = 0


async def _take_place(
    history: ChatMessageHistory,
    claim: Claim,
    deadline: Deadline,
    turns_to_read: int,
    take: Callable[[Tail], Awaitable[T]],
    *,
    waited: bool,
) -> T | Replay:
    others_passed = False
    # A call that has waited is not begun in its last moments; one that has not may be that short.
    while not (waited and deadline.remaining() < LEAST_READ_SECONDS):
        with step("history.tail"):
            tail = await history.tail(turns_to_read)
        if tail.running and await history.take_over(tail.running):
            # Before anybody is refused or kept waiting for the sake of a dead server's turn.
            continue
        earlier = await _earlier_attempt(history, tail, claim)
        if earlier and earlier.status is TurnStatus.COMPLETED:
            return Replay(earlier)
        if not earlier:
            await _check_sequence(history, tail, claim)
        if tail.running:
            if not earlier:
                _check_patience(claim, tail.running.request_id)
            with step("session.join" if earlier else "session.wait"):
                await wait_until_idle(history, tail.running, deadline)
        elif not others_passed and await let_others_pass(
            history, tail.turns[0] if tail.turns else None
        ):
            others_passed = True
        else:
            try:
                return await take(tail)
            except RequestIdTaken:
                if found := await _join(history, claim, deadline):
                    return found
                await look_again_soon()
            except SequenceTaken:
                happened("conflict", "SEQUENCE_TAKEN")
                await look_again_soon()
        waited = True
    raise WaitTimeout("the deadline came while the request waited for its place in the session")


async def _answer_without_queueing(
    history: ChatMessageHistory, claim: Claim, deadline: Deadline, queue: _Queue
) -> Replay | None:
    """What needs no place of its own: a repeated request, and one that will not wait."""
    replay = await earlier_answer(history, claim, deadline)
    if replay is None and claim.on_conflict is ConflictPolicy.REJECT:
        running = (await history.tail(1)).running
        _check_patience(claim, running.request_id if running else queue.holder_request_id)
    return replay


async def earlier_answer(
    history: ChatMessageHistory, claim: Claim, deadline: Deadline
) -> Replay | None:
    """The request's turn if it was completed before, or is once it has run; else None."""
    return await _join(history, claim, deadline) if claim.request_id else None


async def _join(history: ChatMessageHistory, claim: Claim, deadline: Deadline) -> Replay | None:
    """Waits for the turn that has this request_id; None if it ended without a reply."""
    turn = await history.find(claim.request_id)
    if turn and turn.status is TurnStatus.RUNNING:
        _check_fingerprint(turn, claim)
        with step("session.join"):
            await wait_until_idle(history, turn, deadline)
        turn = await history.find(claim.request_id)
    if turn is None or turn.status is TurnStatus.RUNNING:
        return None
    _check_fingerprint(turn, claim)
    return Replay(turn)


@asynccontextmanager
async def _in_line(
    queue: _Queue, history: ChatMessageHistory, deadline: Deadline
) -> AsyncIterator[None]:
    """Holds the head of the queue while the body runs."""
    queue.standing += 1
    try:
        if queue.standing == 1:
            async with queue:  # at once: nobody is there
                yield
        else:
            async with _behind_others(queue, history, deadline):
                yield
    finally:
        queue.standing -= 1


@asynccontextmanager
async def _behind_others(
    queue: _Queue, history: ChatMessageHistory, deadline: Deadline
) -> AsyncIterator[None]:
    """Waits in line and holds the head of the queue while the body runs.

    Goes ahead without it if no turn runs in the session though the head is held: the one that held
    it was cleared or taken over by another server, and its model may take long to answer nobody.
    """
    turn_came = asyncio.ensure_future(queue.acquire())
    try:
        with step("session.wait"):
            await _wait_in_line(turn_came, history, deadline)
        yield
    finally:
        if turn_came.done():
            queue.release()
        else:
            turn_came.cancel()


async def _wait_in_line(
    turn_came: asyncio.Future[Any], history: ChatMessageHistory, deadline: Deadline
) -> None:
    """Returns when the head of the queue is ours, or nobody runs a turn though it is held."""
    while not turn_came.done():
        patience = min(_LOOK_EVERY_SECONDS, deadline.remaining())
        await asyncio.wait({turn_came}, timeout=patience)
        if turn_came.done():
            return
        # A timer may come a little before its time.
        if deadline.remaining() < LEAST_READ_SECONDS:
            raise WaitTimeout("the deadline came while the request queued for its session")
        if not (await history.tail(1)).running:
            return


async def _earlier_attempt(history: ChatMessageHistory, tail: Tail, claim: Claim) -> Turn | None:
    """The turn of the same request, running or completed.

    Not looked for beyond the tail unless something would else stand in the replay's way: taking
    the place finds it too, by the unique index.
    """
    if not claim.request_id:
        return None
    turn = next((each for each in tail.turns if each.request_id == claim.request_id), None)
    in_the_way = tail.running or claim.expected_sequence is not None
    if turn is None and in_the_way and not tail.whole:
        turn = await history.find(claim.request_id)
    if turn:
        _check_fingerprint(turn, claim)
    return turn


def _check_fingerprint(turn: Turn, claim: Claim) -> None:
    if turn.fingerprint != claim.fingerprint:
        raise RequestIdReused(
            "this request_id was used for another request; make a new one for each request",
            request_id=claim.request_id,
            sequence=str(turn.sequence),
        )


def _check_patience(claim: Claim, running_request_id: str) -> None:
    if claim.on_conflict is ConflictPolicy.REJECT:
        raise SessionBusy(
            "another turn of the session is running; try again later, or let the call WAIT",
            running_request_id=running_request_id,
        )


async def _check_sequence(history: ChatMessageHistory, tail: Tail, claim: Claim) -> None:
    """Refuses a request whose caller does not know the session's last turn.

    Turns that ended without a reply do not count: they say nothing to the model, and a caller whose
    turn failed must be able to send the very same request again. Where no turn counts, the session
    is empty to its callers, and they may say 0.
    """
    expected = claim.expected_sequence
    if expected is None:
        return
    last = await _last_said(history, tail)
    if last is None:
        if expected == 0:
            return
        first = await history.page(UNFINISHED, limit=1)
        last = first[0].sequence - 1 if first else tail.head
    if not last <= expected <= tail.head:
        raise SequenceMismatch(
            f"the session's last turn is {last}, not {expected}; read the session again",
            current_sequence=str(last),
            expected_sequence=str(expected),
        )


async def _last_said(history: ChatMessageHistory, tail: Tail) -> int | None:
    """The sequence of the newest turn that runs or is completed, however far back it is."""
    said = [turn.sequence for turn in tail.turns if turn.status not in UNFINISHED]
    if not said and not tail.whole:
        older = await history.page(
            {TurnStatus.COMPLETED}, limit=1, newest_first=True, after=tail.turns[-1].sequence
        )
        said = [turn.sequence for turn in older]
    return said[0] if said else None
