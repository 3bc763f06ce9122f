"""Summaries of what no longer fits the window, written behind the turns.

Never on a request's path: a turn that was completed says what it left out, and goes its way. Each
summary adds a piece to the one before and is written onto the newest turn that it covers; turns
themselves never change. The pieces are folded into one only when together they outgrow their share
of the budget. A summary that fails costs a log line; it is tried again when the claim has run out.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import structlog

from turnkeep_server.background import running
from turnkeep_server.context import Omitted
from turnkeep_server.errors import (
    ContentFiltered,
    ContextTooLarge,
    ModelRefusedRequest,
    TurnkeepError,
)
from turnkeep_server.history.contract import ChatMessageHistory, HistoryStore
from turnkeep_server.recording import Recorder, happened
from turnkeep_server.records import SUMMARY
from turnkeep_server.summarizer import Spend, Summarizer
from turnkeep_server.turns import Message, Role, SessionKey, Summary, Turn, TurnStatus

_MOST_SESSIONS_WAITING = 1_000
_MOST_SUMMARIES_IN_A_ROW = 100
_TURNS_A_READ = 50
# Of all that summaries may take: four pieces fill it, and a fold leaves room for two more.
_PIECE_SHARE, _FOLD_SHARE = 1 / 4, 1 / 2
# Store operations may take as long as history_timeout_seconds, 20 s by default.
_CLAIM_MARGIN_SECONDS = 60.0
_SKIPPED = Message(role=Role.SYSTEM, text="(A part of the conversation is not in these notes.)")
_REFUSED = (ContentFiltered, ContextTooLarge, ModelRefusedRequest)


@dataclass(frozen=True, slots=True)
class _Due:
    """A summary that is due, as of the turn that noticed it, and from when on it is written."""

    omitted: Omitted
    from_time: float


class Summaries:
    """Writes the summaries that are due, a few at once; of a session one at once, over all servers.

    `after_messages`: how many messages have to be outside the window, and in no summary yet.
    `max_tokens`: the most that all pieces of a session take together, whoever asks.
    `delay_seconds`: how long after it is due: who has just been answered tends to go on at once.
    `parallel`: how many sessions are summarised at once in this process. `spend`: is told what a
    tenant's summaries used, in tokens.
    `recorder`: keeps a record of each time that a session is summarised.
    """

    def __init__(
        self,
        *,
        store: HistoryStore,
        summarizer: Summarizer,
        after_messages: int,
        max_tokens: int,
        delay_seconds: float,
        parallel: int,
        spend: Callable[[str, int], None],
        recorder: Recorder,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._summarizer = summarizer
        self._after_messages = after_messages
        self._max_tokens = max_tokens
        self._delay_seconds = delay_seconds
        self._parallel = parallel
        self._spend = spend
        self._due: dict[SessionKey, _Due] = {}
        self._queue = asyncio.Queue[SessionKey]()

    def notice(self, session: SessionKey, omitted: Omitted) -> None:
        """Has the session summarised if it is due. Returns at once, and never raises."""
        if omitted.messages < self._after_messages:
            return
        waiting = self._due.get(session)
        if waiting:
            self._due[session] = replace(waiting, omitted=omitted)
        elif len(self._due) < _MOST_SESSIONS_WAITING:
            now = asyncio.get_running_loop().time()
            self._due[session] = _Due(omitted, now + self._delay_seconds)
            self._queue.put_nowait(session)
        else:
            # Its next turn notices it again.
            structlog.get_logger().warning("summary_put_off", waiting=len(self._due))
            happened(SUMMARY, "put_off")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Writes what is due until the block is left; what is not written then is dropped."""
        async with AsyncExitStack() as stack:
            for n in range(self._parallel):
                await stack.enter_async_context(running(self._keep_writing, f"summaries-{n}"))
            yield

    async def _keep_writing(self) -> None:
        while True:
            session = await self._queue.get()
            await asyncio.sleep(self._due[session].from_time - asyncio.get_running_loop().time())
            due = self._due.pop(session)
            with self._recorder.recording(SUMMARY) as record:
                record.tenant = session.tenant
                try:
                    await self._catch_up(session, due.omitted)
                except TurnkeepError as error:
                    record.reason = error.reason
                    _tell("summary_failed", error)

    async def _catch_up(self, session: SessionKey, omitted: Omitted) -> None:
        """Summarises what was left out, as much at a time as the model reads."""
        history = self._store.history(session)
        known, more = omitted.summary, True
        for _ in range(_MOST_SUMMARIES_IN_A_ROW):
            summary = await history.summary()
            if not more or _end_of(summary) != _end_of(known):
                # Nothing is left, or another server was faster.
                return
            if not await history.claim_summary(summary, self._claim_seconds):
                return
            turns, more = await self._uncovered(history, summary, omitted.before)
            if not turns:
                # Cleared since.
                return
            spend = partial(self._spend, session.tenant)
            known = await self._continued(summary, turns, spend)
            written = await history.summarize(known)
            happened(SUMMARY, "written" if written else "dropped")
            structlog.get_logger().info(
                "summarized" if written else "summary_dropped",
                turns=len(turns),
                pieces=len(known.pieces),
                through_sequence=known.through_sequence,
            )

    async def _uncovered(
        self, history: ChatMessageHistory, summary: Summary | None, before: int
    ) -> tuple[Sequence[Turn], bool]:
        """The oldest turns that no summary covers, as many as the model reads at once; and if more.

        One at least, which is cut if it is too long.
        """
        turns: list[Turn] = []
        after = summary.through_sequence if summary else None
        room = self._summarizer.input_tokens
        while True:
            page = await history.page({TurnStatus.COMPLETED}, limit=_TURNS_A_READ, after=after)
            for turn in page:
                if turn.sequence >= before:
                    return turns, False
                room -= self._summarizer.size_of_turn(turn)
                if room < 0 and turns:
                    return turns, True
                turns.append(turn)
            if len(page) < _TURNS_A_READ:
                return turns, False
            after = page[-1].sequence

    async def _continued(
        self, summary: Summary | None, turns: Sequence[Turn], spend: Spend
    ) -> Summary:
        """The summary, longer by a piece about these turns; folded if it would be too long."""
        try:
            room = int(self._max_tokens * _PIECE_SHARE)
            added = await self._summarizer.notes_on(turns, room, spend)
        except _REFUSED as error:
            # It would be refused for ever: better to go on without than to stop here.
            _tell("summary_skipped", error)
            added = _SKIPPED
        pieces = (*(summary.pieces if summary else ()), added)
        if self._summarizer.size_of(pieces) > self._max_tokens:
            pieces = await self._folded(pieces, spend)
        return Summary(pieces, turns[-1].sequence, turns[-1].messages_so_far)

    async def _folded(self, pieces: Sequence[Message], spend: Spend) -> tuple[Message, ...]:
        try:
            room = int(self._max_tokens * _FOLD_SHARE)
            return (await self._summarizer.fold(pieces, room, spend),)
        except TurnkeepError as error:
            _tell("summary_not_folded", error)
            return self._summarizer.cut(pieces, self._max_tokens)

    @property
    def _claim_seconds(self) -> float:
        """As long as a piece and a fold can take."""
        return 2 * self._summarizer.timeout_seconds + _CLAIM_MARGIN_SECONDS


def _tell(event: str, error: TurnkeepError) -> None:
    """The reason, and what is behind it; never what was said."""
    happened(SUMMARY, event.removeprefix("summary_"))
    cause = error.__cause__
    structlog.get_logger().warning(
        event,
        reason=error.reason,
        cause=type(cause).__name__ if cause else None,
        provider_status=getattr(cause, "status_code", None),
    )


def _end_of(summary: Summary | None) -> int:
    return summary.through_sequence if summary else 0
