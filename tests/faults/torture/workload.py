"""The callers: many at once, on sessions of their own and on shared ones, until they are stopped.

async with AskedModel(seed) as model, Workload(addresses, model, Mix(), seed=seed) as load:
    load.start(callers=24)
    ...                         # faults
    await load.stop()
    await load.read_back()      # when no turn can be running any more
load.tell(outcome, plan)        # counts, and what the checker finds
"""

import asyncio
import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.faults.torture.asked_model import AskedModel
from tests.faults.torture.calls import Call, History, Op, role_of
from tests.faults.torture.checker import check, counted
from tests.faults.torture.outcome import FORBIDDEN_STATUSES, Figure, Outcome
from tests.faults.torture.sections import Plan
from tests.faults.torture.sending import PATIENCE_SECONDS, Errand, Servers, failed, sent
from tests.kit.canary import MARK
from turnkeep.v1 import conversation_pb2 as pb

# Longer ones cost the model's stub more than they find.
TURNS_A_SESSION = 30
READERS = 16
_KEPT = Path("build", "torture")
_PHRASES = (
    "Привет! Меня зовут Виктор 👋",
    "今天天气怎么样?",
    "كيف حالك اليوم؟",
    "Où en sommes-nous ? 👩‍👩‍👧‍👦",
    "$where {a.b: 1} \\ \"'",
    "नमस्ते 🙏🏽 e\u0301 ZWJ\u200d",
)
_SHARED_SHARE = 0.4
_SHORT_SHARE, _SHORT_SECONDS = 0.02, 0.15
_TOO_LONG_REQUEST_ID = 65


@dataclass(frozen=True, slots=True)
class Mix:
    """How often each kind of call is made, as weights. `reject`: a chat that will not wait;
    `invalid`: one that breaks the contract; `hang_up`: a stream whose caller leaves."""

    chat: int = 28
    stream: int = 18
    add: int = 22
    list: int = 20
    clear: int = 2
    reject: int = 5
    invalid: int = 1
    hang_up: int = 4


class Workload:
    """Callers over several servers of one store; records every call.

    `shared`: how many sessions are contended; `name` begins the name of each session, so that
    several workloads may use one store.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        model: AskedModel,
        mix: Mix,
        *,
        seed: int,
        shared: int = 4,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.history = History(asked=model.asked)
        self._addresses = addresses
        self._mix = mix
        self._dice = random.Random(seed)
        self._name = f"{seed}-{uuid.uuid4().hex[:6]}"
        self._shared = [_Place(f"{self._name}.shared{n}") for n in range(shared)]
        self._patience_seconds = patience_seconds
        self._texts = 0
        self._sessions: set[str] = set()
        self._stopped = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._servers = Servers(self._addresses)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._servers.close()

    def start(self, callers: int) -> None:
        """Callers call from now on, each one call at a time and without a pause."""
        for n in range(callers):
            own = _Place(f"{self._name}.own{n}")
            self._tasks.append(asyncio.create_task(self._calls_on(own, n)))

    @property
    def name(self) -> str:
        """What the name of each session of its begins with."""
        return self._name

    @property
    def calls(self) -> int:
        """How many calls have ended."""
        return len(self.history.calls)

    async def stop(self) -> None:
        """Every caller ends the call that it is at. Raises what ended one early: a bug here."""
        self._stopped.set()
        await asyncio.gather(*self._tasks)

    async def read_back(self) -> None:
        """Reads every session, once as callers do and once with what failed."""
        sessions = sorted(self._sessions)

        async def read_some() -> None:
            while sessions:
                session = sessions.pop()
                for unfinished in (False, True):
                    await self.make(self.listing(session, unfinished=unfinished))

        await asyncio.gather(*(read_some() for _ in range(READERS)))

    async def make(self, errand: Errand, first: int | None = None) -> Call:
        """Makes one call and records it. `first`: the server to begin with, else any."""
        return self.record(await self.sent(errand, first), errand)

    async def sent(self, errand: Errand, first: int | None = None) -> Call:
        """As `make`, but what comes of it is yet to be recorded."""
        start = self._dice.randrange(len(self._servers)) if first is None else first
        return await sent(errand, self._servers, start, self._dice)

    def record(self, call: Call, errand: Errand) -> Call:
        """Adds a call to the history; one that was sent twice once, with all its attempts."""
        unfinished = isinstance(errand.request, pb.ListMessagesRequest) and (
            errand.request.include_unfinished
        )
        call = replace(call, id=self.calls + 1, unfinished=unfinished)
        self._sessions.add(call.session)
        self.history.calls.append(call)
        return call

    async def sent_by_all(self, errand: Errand, callers: int) -> Sequence[Call]:
        """The same request from many callers at once. Not recorded: it is one call."""
        return await asyncio.gather(
            *(sent(errand, self._servers, n, self._dice) for n in range(callers))
        )

    def new_errand(self, op: Op, session: str) -> Errand:
        """A request that nobody has made; the session's name is made this workload's own."""
        kind = {Op.CHAT: "chat", Op.STREAM: "stream", Op.ADD: "add", Op.CLEAR: "clear"}[op]
        return _KINDS[kind](self, f"{self._name}.{session}")

    def tell(self, outcome: Outcome, folder: Path) -> None:
        """Adds to the outcome what was called and what the checker finds wrong with it.

        The history is kept in `folder`; one with violations, or with a status that must not be,
        under build/torture too.
        """
        for call in self.history.calls:
            outcome.calls += 1
            outcome.failed_calls += failed(call)
            outcome.statuses.update(each.status for each in call.attempts)
        lists = sum(call.op is Op.LIST and call.ok for call in self.history.calls)
        _add(outcome, "sessions", len(self._sessions))
        _add(outcome, "reads that were checked", lists)
        _add(outcome, "model inputs that were checked", len(self.history.asked))
        path = folder / f"{outcome.section}-{self._name}.jsonl"
        self.history.write(path)
        violations = check(self.history)
        outcome.violations += counted(violations)
        told = [violations[0].told()] if violations else [*forbidden(self.history)]
        if told:
            _KEPT.mkdir(parents=True, exist_ok=True)
            self.history.write(_KEPT / path.name)
            outcome.first_violation = outcome.first_violation or told[0]

    # --- one caller -----------------------------------------------------------------------------

    async def _calls_on(self, own: "_Place", number: int) -> None:
        kinds = list(_KINDS)
        weights = [getattr(self._mix, each) for each in kinds]
        while not self._stopped.is_set():
            shared = self._shared and self._dice.random() < _SHARED_SHARE
            place = self._dice.choice(self._shared) if shared else own
            (kind,) = self._dice.choices(kinds, weights)
            session = place.session(writes=kind != "list")
            # Mostly the same server, as a connection does; the shared sessions meet on several.
            await self.make(_KINDS[kind](self, session), number % len(self._servers))

    def text(self) -> str:
        """One that nobody has said, and that no server may log."""
        self._texts += 1
        return f"#{self._name}.{self._texts} {MARK} {self._dice.choice(_PHRASES)}"

    def errand(
        self, op: Op, session: str, request: pb.ChatRequest | pb.AddMessagesRequest
    ) -> Errand:
        """The errand of a request that carries its request_id, and its texts."""
        texts: tuple[str, ...]
        if isinstance(request, pb.ChatRequest):
            texts = (request.text,)
        else:
            texts = tuple(each.text for each in request.messages)
        short = self._dice.random() < _SHORT_SHARE
        errand = Errand(op, session, request, texts, request.request_id)
        errand = replace(errand, patience_seconds=self._patience_seconds)
        return replace(errand, first_seconds=_SHORT_SECONDS) if short else errand

    def chat_request(self, session: str, **fields: object) -> pb.ChatRequest:
        """A question that nobody has asked, with a request_id that nobody has used."""
        text = self.text()
        request_id = f"r{self._texts}"
        return pb.ChatRequest(
            **{"session_id": session, "text": text, "request_id": request_id, **fields}  # type: ignore[arg-type]
        )

    def _chat(self, session: str) -> Errand:
        return self.errand(Op.CHAT, session, self.chat_request(session))

    def _stream(self, session: str) -> Errand:
        return self.errand(Op.STREAM, session, self.chat_request(session))

    def add(self, session: str) -> Errand:
        """An errand that appends one to three messages that nobody has said."""
        texts = [self.text() for _ in range(self._dice.randint(1, 3))]
        roles = {"user": pb.ROLE_USER, "assistant": pb.ROLE_ASSISTANT}
        messages = [
            pb.Message(role=roles[role_of(index)], text=text) for index, text in enumerate(texts)
        ]
        request = pb.AddMessagesRequest(
            session_id=session, request_id=f"r{self._texts}", messages=messages
        )
        return self.errand(Op.ADD, session, request)

    def _list(self, session: str) -> Errand:
        return self.listing(session, unfinished=False)

    def listing(self, session: str, *, unfinished: bool) -> Errand:
        """An errand that reads a session whole. `unfinished`: what failed or was cancelled too."""
        request = pb.ListMessagesRequest(
            session_id=session, page_size=1_000, include_unfinished=unfinished
        )
        return Errand(Op.LIST, session, request, patience_seconds=self._patience_seconds)

    def clear(self, session: str) -> Errand:
        """An errand that clears a session."""
        request = pb.ClearSessionRequest(session_id=session)
        return Errand(Op.CLEAR, session, request, patience_seconds=self._patience_seconds)

    def _reject(self, session: str) -> Errand:
        request = self.chat_request(session, on_conflict=pb.CONFLICT_POLICY_REJECT)
        return self.errand(Op.CHAT, session, request)

    def _invalid(self, session: str) -> Errand:
        request = self.chat_request(session, request_id="r" * _TOO_LONG_REQUEST_ID)
        return self.errand(Op.CHAT, session, request)

    def _hang_up(self, session: str) -> Errand:
        errand = self._stream(session)
        seconds, comes_back = self._dice.uniform(0, 0.06), self._dice.random() < 0.5
        return replace(errand, hangs_up=seconds, comes_back=comes_back)


def workload(addresses: Sequence[str], model: AskedModel, plan: Plan, seed: int) -> Workload:
    """The usual mix, with the patience of the plan."""
    patience_seconds = plan.patience_seconds
    return Workload(addresses, model, Mix(), seed=seed, patience_seconds=patience_seconds)


def forbidden(history: History) -> Iterator[str]:
    """The calls of which an attempt had a status that must not be, with all their attempts."""
    for call in history.calls:
        if any(each.status in FORBIDDEN_STATUSES for each in call.attempts):
            tried = (
                f"{each.status} {each.reason}".strip() + f"@{each.server}" for each in call.attempts
            )
            yield f"{call.op} {call.request_id} in session {call.session}: {', '.join(tried)}"


def _add(outcome: Outcome, name: str, count: int) -> None:
    """Counts on: a section may have several workloads."""
    before = outcome.figures.get(name, Figure(0, ""))
    outcome.figures[name] = Figure(before.value + count, "")


class _Place:
    """A session that callers write to, until it is long enough and the next one is begun."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._writes = 0

    def session(self, *, writes: bool) -> str:
        """The session to call now. `writes`: whether that call adds to it."""
        self._writes += writes
        return f"{self._name}.{self._writes // (TURNS_A_SESSION + 1)}"


_KINDS: dict[str, Callable[[Workload, str], Errand]] = {
    "chat": Workload._chat,
    "stream": Workload._stream,
    "add": Workload.add,
    "list": Workload._list,
    "clear": Workload.clear,
    "reject": Workload._reject,
    "invalid": Workload._invalid,
    "hang_up": Workload._hang_up,
}
