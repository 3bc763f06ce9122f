"""The use cases. Each reads as its story; in every one of them a turn is a transaction."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import cast

import structlog

from turnkeep_server.chain import Chain, Question
from turnkeep_server.commands import AddMessages, Chat, Claim, ListMessages, ListSessions
from turnkeep_server.context import Context, Contexts
from turnkeep_server.counting import counted_messages
from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import (
    ContextTooLarge,
    MissingVariable,
    ModelNotAllowed,
    SessionFull,
    UnknownPrompt,
)
from turnkeep_server.history.contract import (
    ChatMessageHistory,
    Cleared,
    HistoryStore,
    RequestIdTaken,
    Tail,
)
from turnkeep_server.listing import MessagePage, SessionPage, message_page, session_page
from turnkeep_server.recording import note, step
from turnkeep_server.reservation import Replay, Reservations, earlier_answer
from turnkeep_server.running_turns import Running, RunningTurns, Spend
from turnkeep_server.turns import (
    ContextReport,
    Message,
    Reply,
    SessionKey,
    Turn,
    TurnDraft,
)
from turnkeep_server.writes import Writes

_QUESTION_AND_REPLY = 2


@dataclass(frozen=True, slots=True)
class Finished:
    """A completed turn. `replayed`: it was completed by an earlier call with its request_id."""

    turn: Turn
    replayed: bool


@dataclass(frozen=True, slots=True)
class Started:
    """A turn that has its place; the model is being asked."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Preview:
    """What a turn would send to the model, and how much of the history that is."""

    messages: tuple[Message, ...]
    report: ContextReport
    model: str


StreamEvent = Started | str | Finished


class Conversations:
    """Runs turns over a store and a chain, both opened and closed by others.

    `contexts`: what of a history goes to the model. `completed`: is told of each turn that was,
    with its context; returns at once. `max_page_bytes`: how large a page of messages may grow.
    `max_session_messages`: how many a session's completed turns may have; None is no limit.
    `spend`: is told what each turn used that asked the model, however it ended.
    """

    def __init__(
        self,
        *,
        store: HistoryStore,
        chain: Chain,
        contexts: Contexts,
        completed: Callable[[SessionKey, Turn, Context], None],
        max_page_bytes: int,
        max_session_messages: int | None = None,
        spend: Spend = lambda tenant, tokens: None,
    ) -> None:
        self._store = store
        self._chain = chain
        self._contexts = contexts
        self._completed = completed
        self._max_page_bytes = max_page_bytes
        self._max_session_messages = max_session_messages
        self._reservations = Reservations()
        self._writes = Writes()
        self._turns = RunningTurns(self._writes, contexts.size, spend)

    async def chat(self, request: Chat, deadline: Deadline) -> Finished:
        """Runs one turn; durable on return. Raises any TurnkeepError."""
        async with self._place(request, deadline) as place:
            if isinstance(place, Replay):
                return _logged(Finished(place.turn, replayed=True))
            async with self._turns.ending(place, []):
                reply = await self._chain.reply(place.question, deadline)
            return await self._commit(place, reply)

    async def stream_chat(self, request: Chat, deadline: Deadline) -> AsyncGenerator[StreamEvent]:
        """Runs one turn: Started, pieces of text, Finished. Durable before Finished is given.

        Close it to cancel the turn: the model's call ends and the text so far is kept.
        """
        async with self._place(request, deadline) as place:
            if isinstance(place, Replay):
                finished = _logged(Finished(place.turn, replayed=True))
            else:
                said: list[str] = []
                reply: Reply | None = None
                async with self._turns.ending(place, said):
                    yield Started(place.turn)
                    async with aclosing(self._chain.stream(place.question, deadline)) as stream:
                        async for piece in stream:
                            if isinstance(piece, str):
                                said.append(piece)
                                yield piece
                            else:
                                reply = piece
                # Without a Reply as its last piece the stream would have raised.
                finished = await self._commit(place, cast(Reply, reply))
        # The session is free again before its caller has read the end.
        if finished.replayed:
            yield Started(finished.turn)
            yield finished.turn.messages[-1].text
        yield finished

    async def preview_context(self, request: Chat, deadline: Deadline) -> Preview:
        """What `chat` would send if it ran now; stores nothing and asks no model."""
        history = self._store.history(request.session, deadline)
        question = await self._question(request)
        tail = await history.tail(self._contexts.turns_a_read(request.context))
        context = await self._contexts.read(history, tail, question, request.context)
        before = (question.system,) if question.system else ()
        messages = (*before, *context.messages, question.message)
        return Preview(messages, context.report, question.model)

    async def add_messages(self, request: AddMessages, deadline: Deadline) -> Finished:
        """Appends messages as one completed turn; durable on return."""
        history = self._store.history(request.session, deadline)
        note(session_id=request.session.session_id)
        messages = await counted_messages(*request.messages)

        async def append(tail: Tail) -> Turn:
            await self._check_room(history, tail, len(messages), request.claim)
            draft = TurnDraft(
                messages=messages,
                messages_before=tail.messages_so_far,
                request_id=request.claim.request_id,
                fingerprint=request.claim.fingerprint,
            )
            # Not cut off by a caller who hangs up: what was sent to the store is seen through.
            with step("history.append"):
                appended = history.append(draft, tail.head + 1)
                return await self._writes.seen_through(appended, deadline)

        async with self._reservations.place(
            history, request.claim, deadline, turns_to_read=1, take=append
        ) as place:
            if isinstance(place, Replay):
                return _logged(Finished(place.turn, replayed=True))
            return _logged(Finished(place, replayed=False))

    async def clear_session(self, session: SessionKey, deadline: Deadline) -> Cleared:
        """Forgets a session, without waiting for a turn that runs in it."""
        # Seen through though its caller hangs up: what is to be forgotten is not left half deleted.
        history = self._store.history(session, deadline)
        note(session_id=session.session_id)
        with step("history.clear"):
            cleared = await self._writes.seen_through(history.clear_session(), deadline)
        self._reservations.let_pass(session)
        return cleared

    async def list_messages(self, request: ListMessages, deadline: Deadline) -> MessagePage:
        """A page of a session's messages."""
        history = self._store.history(request.session, deadline)
        note(session_id=request.session.session_id)
        with step("history.list_messages"):
            return await message_page(history, request, max_bytes=self._max_page_bytes)

    async def list_sessions(self, request: ListSessions, deadline: Deadline) -> SessionPage:
        """A page of a user's sessions."""
        with step("history.list_sessions"):
            return await session_page(self._store, request, deadline)

    async def settle(self, timeout_seconds: float) -> None:
        """Returns when every write that outlived its caller is done, or the time is up."""
        await self._writes.settle(timeout_seconds)

    # --- a turn, step by step -------------------------------------------------------------------

    @asynccontextmanager
    async def _place(self, request: Chat, deadline: Deadline) -> AsyncIterator[Running | Replay]:
        """Reads the window, and reserves the turn's place behind exactly what was read."""
        history = self._store.history(request.session, deadline)
        note(session_id=request.session.session_id)
        try:
            question = await self._question(request)
        except (UnknownPrompt, MissingVariable, ModelNotAllowed):
            # What was allowed when the turn was completed may not be any more: it is replayed.
            replay = await earlier_answer(history, request.claim, deadline)
            if replay is None:
                raise
            yield replay
            return

        async def begin(tail: Tail) -> Running:
            await self._check_room(history, tail, _QUESTION_AND_REPLY, request.claim)
            try:
                with step("context") as reading:
                    context = await self._contexts.read(history, tail, question, request.context)
                    reading.note(report=context.report)
            except ContextTooLarge:
                if request.claim.request_id and await history.find(request.claim.request_id):
                    raise RequestIdTaken from None
                raise
            draft = TurnDraft(
                messages=(question.message,),
                messages_before=tail.messages_so_far,
                request_id=request.claim.request_id,
                fingerprint=request.claim.fingerprint,
                model=question.model,
                context=context.report,
            )
            with step("history.begin", model=question.model):
                turn = await self._turns.begin(history, draft, tail.head + 1, deadline)
            asked = replace(question, history=context.messages)
            return Running(history, turn, asked, context, deadline)

        turns_to_read = self._contexts.turns_a_read(request.context)
        async with self._reservations.place(
            history, request.claim, deadline, turns_to_read=turns_to_read, take=begin
        ) as place:
            yield place

    async def _check_room(
        self, history: ChatMessageHistory, tail: Tail, more: int, claim: Claim
    ) -> None:
        """Raises SessionFull, or RequestIdTaken if the request is one that found room before."""
        most = self._max_session_messages
        if most is None or tail.messages_so_far + more <= most:
            return
        if claim.request_id and await history.find(claim.request_id):
            raise RequestIdTaken
        raise SessionFull(
            f"the session has {tail.messages_so_far} messages and may have {most}; "
            "begin a new one, or clear it",
            messages=str(tail.messages_so_far),
            max_messages=str(most),
        )

    async def _question(self, request: Chat) -> Question:
        (message,) = await counted_messages(request.question)
        return self._chain.question(
            message,
            prompt=request.prompt,
            variables=request.variables,
            options=request.options,
        )

    async def _commit(self, running: Running, reply: Reply) -> Finished:
        turn = await self._turns.commit(running, reply)
        self._completed(running.history.session, turn, running.context)
        return _logged(Finished(turn, replayed=False))


def _logged(finished: Finished) -> Finished:
    """Adds the turn's figures, never its text, to the one line that the call logs."""
    turn = finished.turn
    note(model=turn.model, sequence=turn.sequence, replayed=finished.replayed)
    structlog.contextvars.bind_contextvars(
        sequence=turn.sequence,
        model=turn.model,
        input_tokens=turn.usage.input_tokens,
        output_tokens=turn.usage.output_tokens,
        replayed=finished.replayed,
    )
    return finished
