"""One session whose callers hang up, stream after stream, and what is left of it in the end."""

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

import grpc.aio

from tests.faults.torture.calls import Call, History, Op, Seen, Verdict
from tests.faults.torture.checker import check
from tests.faults.torture.talkative_model import (
    LONG,
    SHORT_PIECES,
    TalkativeModel,
    answer_to,
    model_call,
)
from turnkeep.v1 import conversation_pb2 as pb

if TYPE_CHECKING:
    from turnkeep.v1.conversation_pb2_grpc import ConversationServiceAsyncStub

_CALL_SECONDS = 30.0
# Moments between events too, not only at them.
_LONGEST_PAUSE_SECONDS = 0.012
_MOST_DELTAS = 4
_ROLES = {pb.ROLE_USER: "user", pb.ROLE_ASSISTANT: "assistant"}
_numbers = itertools.count(1)


class Moment(Enum):
    """When a caller hangs up."""

    BEFORE = "before the first event"
    STARTED = "after started"
    DELTAS = "between deltas"
    END = "at the end"


@dataclass(slots=True)
class Stream:
    """A stream that was cancelled. Times are time.monotonic() seconds."""

    question: str
    moment: Moment
    started_at: float
    cancelled_at: float = 0.0
    said: str = ""
    """The text that its caller had got."""


@dataclass(slots=True)
class Findings:
    """Of one session, or of many added up."""

    streams: int = 0
    moments: dict[str, int] = field(default_factory=dict)
    closed_ms: list[float] = field(default_factory=list)
    """From a caller's hanging up to the end of its model's call, of calls that ran then."""
    late_ms: list[float] = field(default_factory=list)
    """How long those calls of the model lasted that reached it after its caller had hung up."""
    turns: dict[str, int] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    """The gRPC status of every call."""
    problems: list[tuple[str, str]] = field(default_factory=list)
    """(what kind, what was seen)."""


class CancelledSession:
    """`run()` once: `streams` that are cancelled, one answer, and a look at what was kept.

    `pace` is awaited ahead of each stream.
    """

    def __init__(
        self,
        stub: "ConversationServiceAsyncStub",
        model: TalkativeModel,
        name: str,
        dice: random.Random,
        streams: int,
        pace: Callable[[], Awaitable[None]],
    ) -> None:
        self._stub = stub
        self._model = model
        self._name = name
        self._dice = dice
        self._streams = streams
        self._pace = pace
        self._found = Findings()
        self._history = History()

    async def run(self) -> Findings:
        """What was found; a call that fails, though nobody cancelled it, is among it."""
        try:
            await self._run()
        except grpc.aio.AioRpcError as error:
            self._found.statuses[error.code().name] += 1
            what = f"{self._name}: {error.details()}"
            self._found.problems.append((f"call ended with {error.code().name}", what))
        return self._found

    async def _run(self) -> None:
        cancelled = [await self._cancelled_stream() for _ in range(self._streams)]
        last = await self._answered()
        # The session's queue has let that one pass: all before it have ended.
        listed = await self._listed(unfinished=True)
        await self._listed(unfinished=False)
        for each in (*cancelled, last):
            await self._look_at_model(each)
        self._look_at_turns(cancelled, listed)
        for violation in check(self._history):
            self._found.problems.append((violation.kind.value, violation.told()))

    async def _cancelled_stream(self) -> Stream:
        await self._pace()
        moment = self._dice.choice(list(Moment))
        stream = Stream(self._question(long=moment is not Moment.END), moment, time.monotonic())
        call = self._stub.StreamChat(self._request(stream.question), timeout=_CALL_SECONDS)
        for _ in range(self._events(moment)):
            event = await call.read()
            if not isinstance(event, pb.StreamChatResponse):
                break
            stream.said += event.delta.text
        await asyncio.sleep(self._dice.uniform(0, _LONGEST_PAUSE_SECONDS))
        stream.cancelled_at = time.monotonic()
        call.cancel()
        # One that had ended before has the status that it ended with.
        self._found.statuses[(await call.code()).name] += 1
        self._note(stream.question, stream.started_at, Op.STREAM)
        self._found.streams += 1
        moments = self._found.moments
        moments[moment.value] = moments.get(moment.value, 0) + 1
        return stream

    def _events(self, moment: Moment) -> int:
        """How many events are read before it is hung up."""
        deltas = self._dice.randint(1, _MOST_DELTAS)
        # At the end: the caller has all the text; the turn is being completed, or just was.
        counts = {Moment.BEFORE: 0, Moment.STARTED: 1, Moment.DELTAS: 1 + deltas}
        return counts.get(moment, 1 + SHORT_PIECES)

    async def _answered(self) -> Stream:
        stream = Stream(self._question(long=False), Moment.END, time.monotonic(), float("inf"))
        answer = await self._stub.Chat(self._request(stream.question), timeout=_CALL_SECONDS)
        stream.said = answer.message.text
        self._found.statuses["OK"] += 1
        self._note(
            stream.question,
            stream.started_at,
            Op.CHAT,
            Verdict.OK,
            sequence=answer.sequence,
            reply=answer.message.text,
        )
        return stream

    async def _listed(self, *, unfinished: bool) -> list[pb.Message]:
        began = time.monotonic()
        request = pb.ListMessagesRequest(
            session_id=self._name, page_size=1_000, include_unfinished=unfinished
        )
        page = await self._stub.ListMessages(request, timeout=_CALL_SECONDS)
        self._found.statuses["OK"] += 1
        found = list(page.messages)
        seen = tuple(Seen(each.sequence, _ROLES[each.role], each.text) for each in found)
        self._note("", began, Op.LIST, Verdict.OK, seen=seen, unfinished=unfinished)
        return found

    def _question(self, *, long: bool) -> str:
        return f"#{next(_numbers)}. Расскажи {LONG if long else 'коротко'} 讲讲 🙏🏽"

    def _request(self, question: str) -> pb.ChatRequest:
        name = question.partition(" ")[0]
        return pb.ChatRequest(session_id=self._name, text=question, request_id=name)

    def _note(
        self,
        question: str,
        began: float,
        op: Op,
        verdict: Verdict = Verdict.UNSURE,
        **seen: Any,
    ) -> None:
        self._history.calls.append(
            Call(
                id=len(self._history.calls) + 1,
                op=op,
                session=self._name,
                started=int(began * 1e9),
                ended=time.monotonic_ns(),
                verdict=verdict,
                texts=(question,) if question else (),
                **seen,
            )
        )

    # --- what is found --------------------------------------------------------------------------

    async def _look_at_model(self, stream: Stream) -> None:
        calls = self._model.taken(stream.question)
        for call in calls:
            self._history.asked.append(model_call(len(self._history.asked) + 1, call))
            with contextlib.suppress(TimeoutError):
                await call.ended()
            if call.ended_at is None:
                self._found.problems.append(("model call left open", stream.question))
            elif call.started_at > stream.cancelled_at:
                self._found.late_ms.append((call.ended_at - call.started_at) * 1000)
            elif call.ended_at > stream.cancelled_at:
                self._found.closed_ms.append((call.ended_at - stream.cancelled_at) * 1000)
        if len(calls) > 1:
            self._found.problems.append(("model asked again for one request", stream.question))

    def _look_at_turns(self, streams: list[Stream], listed: list[pb.Message]) -> None:
        turns: dict[int, list[pb.Message]] = {}
        for each in listed:
            turns.setdefault(each.sequence, []).append(each)
        of_question: dict[str, list[list[pb.Message]]] = {}
        for turn in turns.values():
            of_question.setdefault(turn[0].text, []).append(turn)
        for stream in streams:
            kept = of_question.get(stream.question, [])
            if len(kept) > 1:
                self._found.problems.append(("turn stored twice", stream.question))
            for turn in kept:
                self._look_at_turn(stream, turn)

    def _look_at_turn(self, stream: Stream, turn: list[pb.Message]) -> None:
        status = pb.TurnStatus.Name(turn[0].status).removeprefix("TURN_STATUS_")
        self._found.turns[status] = self._found.turns.get(status, 0) + 1
        reply, whole = "".join(each.text for each in turn[1:]), answer_to(stream.question)
        completed = status == "COMPLETED" and reply == whole
        # All that its caller has read is kept, and nothing that the model did not say.
        partial = status == "CANCELLED" and whole.startswith(reply)
        if not (completed or partial) or not reply.startswith(stream.said) or len(turn) > 2:
            what = f"{status}: {stream.question!r}, read {stream.said!r}, kept {reply!r}"
            self._found.problems.append(("half turn", what))
