"""`memory://`: histories in this process's memory. For tests and trials: a restart forgets them."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import SessionCleared, TurnTakenOver
from turnkeep_server.history.contract import (
    Cleared,
    HistoryStore,
    Position,
    RequestIdTaken,
    SequenceTaken,
    Tail,
)
from turnkeep_server.history.langchain import LangChainChatMessageHistory
from turnkeep_server.turns import (
    Reply,
    SessionKey,
    SessionSummary,
    Summary,
    Turn,
    TurnDraft,
    TurnStatus,
    check_tenant,
    utc_now,
)


@asynccontextmanager
async def open_store(
    url: str, *, lease_seconds: float, operation_timeout_seconds: float
) -> AsyncIterator["InMemoryHistoryStore"]:
    """A new, empty store; `url` says nothing more, and nothing here can time out."""
    yield InMemoryHistoryStore()


@dataclass(frozen=True, slots=True)
class _Memory:
    """All sessions' turns, newest summaries, and until when the next summary is claimed.

    A claim is by the sequence of the summary before it, or of the session's first turn. `tokens`
    are those that tenants used, by day.
    """

    turns: defaultdict[SessionKey, list[Turn]] = field(default_factory=lambda: defaultdict(list))
    summaries: dict[SessionKey, Summary] = field(default_factory=dict)
    claims: dict[SessionKey, dict[int, float]] = field(default_factory=dict)
    tokens: dict[int, dict[str, int]] = field(default_factory=dict)

    def forget(self, session: SessionKey) -> None:
        """Drops what is known beside the turns."""
        self.summaries.pop(session, None)
        self.claims.pop(session, None)


class InMemoryHistoryStore(HistoryStore):
    """All sessions of this process. No lease is needed: with the owner dies the store."""

    def __init__(self) -> None:
        self._memory = _Memory()

    def history(
        self, session: SessionKey, deadline: Deadline | None = None
    ) -> "InMemoryChatMessageHistory":
        return InMemoryChatMessageHistory(session, self._memory)

    async def sessions(
        self,
        tenant: str,
        user_id: str,
        *,
        limit: int,
        after: Position | None = None,
        deadline: Deadline | None = None,
    ) -> Sequence[SessionSummary]:
        check_tenant(tenant)
        found = [
            _summary(key, turns)
            for key, turns in self._memory.turns.items()
            if (key.tenant, key.user_id) == (tenant, user_id) and _visible(turns)
        ]
        found.sort(key=lambda each: (-each.updated_at.timestamp(), each.session.session_id))
        if after:
            place = (-after.updated_at.timestamp(), after.session_id)
            found = [
                each
                for each in found
                if (-each.updated_at.timestamp(), each.session.session_id) > place
            ]
        return found[:limit]

    async def share_tokens(
        self, day: int, mine: Mapping[str, int], tenants: Collection[str]
    ) -> Mapping[str, tuple[int, int]]:
        """There is no other process; and with this one go its sessions, too."""
        of_day = self._memory.tokens.setdefault(day, {})
        for tenant, tokens in mine.items():
            of_day[tenant] = max(tokens, of_day.get(tenant, 0))
        for over in [each for each in self._memory.tokens if each < day - 1]:
            del self._memory.tokens[over]
        return {tenant: (of_day.get(tenant, 0), 0) for tenant in tenants}

    async def ping(self) -> None:
        """Memory is always there."""

    async def repair(self) -> int:
        """Nothing is derived here: sessions are listed from the turns themselves."""
        return sum(1 for turns in self._memory.turns.values() if _visible(turns))


class InMemoryChatMessageHistory(LangChainChatMessageHistory):
    """One session's turns in a list; each operation runs without a pause, so it is atomic."""

    def __init__(self, session: SessionKey, memory: _Memory | None = None) -> None:
        self.session = session
        self._memory = memory or _Memory()
        self._all = self._memory.turns

    async def tail(self, limit: int) -> Tail:
        await _let_others_run()
        turns = self._all.get(self.session, [])
        visible = _visible(turns)[::-1]
        head = turns[-1].sequence if turns else 0
        return Tail(tuple(visible[:limit]), head, whole=len(visible) <= limit)

    async def begin(self, draft: TurnDraft, sequence: int) -> Turn:
        return await self._insert(draft, sequence, TurnStatus.RUNNING)

    async def append(self, draft: TurnDraft, sequence: int) -> Turn:
        return await self._insert(draft, sequence, TurnStatus.COMPLETED)

    async def append_all(self, drafts: Sequence[TurnDraft], sequence: int) -> Sequence[Turn]:
        return [await self.append(each, sequence + n) for n, each in enumerate(drafts)]

    async def complete(self, turn: Turn, reply: Reply) -> Turn:
        return await self._replace_running(turn, lambda running: running.completed(reply))

    async def fail(self, turn: Turn, status: TurnStatus, failure: str, partial_text: str) -> None:
        await self._replace_running(
            turn, lambda running: running.ended(status, failure, partial_text)
        )

    async def find(self, request_id: str) -> Turn | None:
        await _let_others_run()
        for turn in _visible(self._all.get(self.session, [])):
            if turn.request_id == request_id:
                return turn
        return None

    async def is_running(self, turn: Turn) -> bool:
        await _let_others_run()
        return any(
            each.id == turn.id and each.status is TurnStatus.RUNNING
            for each in self._all.get(self.session, [])
        )

    async def announce_wait(self, turn: Turn) -> None:
        """There is no other process."""

    def is_awaited_elsewhere(self, turn: Turn) -> bool:
        return False

    async def take_over(self, turn: Turn) -> bool:
        return False

    async def clear_session(self) -> Cleared:
        await _let_others_run()
        turns = self._all.get(self.session, [])
        visible = _visible(turns)
        if visible:
            tombstone = Turn(
                id=uuid.uuid4().hex,
                sequence=turns[-1].sequence + 1,
                status=TurnStatus.CLEARED,
                messages=(),
                messages_before=0,
                created_at=utc_now(),
            )
            turns[:] = [tombstone]
            self._memory.forget(self.session)
        return Cleared(sum(len(turn.messages) for turn in visible), len(visible))

    async def page(
        self,
        statuses: Collection[TurnStatus],
        *,
        limit: int,
        newest_first: bool = False,
        after: int | None = None,
    ) -> Sequence[Turn]:
        await _let_others_run()
        turns = [t for t in _visible(self._all.get(self.session, [])) if t.status in statuses]
        if newest_first:
            turns.reverse()
        if after is not None:
            turns = [
                t for t in turns if (t.sequence < after if newest_first else t.sequence > after)
            ]
        return turns[:limit]

    async def summary(self) -> Summary | None:
        await _let_others_run()
        return self._memory.summaries.get(self.session)

    async def claim_summary(self, after: Summary | None, seconds: float) -> bool:
        await _let_others_run()
        completed = [t for t in _visible(self._all.get(self.session, [])) if _is_completed(t)]
        bearer = after.through_sequence if after else completed[0].sequence if completed else 0
        if all(turn.sequence != bearer for turn in completed):
            return False
        now = asyncio.get_running_loop().time()
        claims = self._memory.claims.setdefault(self.session, {})
        if claims.get(bearer, 0.0) > now:
            return False
        claims[bearer] = now + seconds
        return True

    async def summarize(self, summary: Summary) -> bool:
        await _let_others_run()
        turns = _visible(self._all.get(self.session, []))
        if not any(t.sequence == summary.through_sequence and _is_completed(t) for t in turns):
            return False
        newest = self._memory.summaries.get(self.session)
        if newest is None or newest.through_sequence <= summary.through_sequence:
            self._memory.summaries[self.session] = summary
        return True

    async def _insert(self, draft: TurnDraft, sequence: int, status: TurnStatus) -> Turn:
        await _let_others_run()
        turns = self._all[self.session]
        if draft.request_id and any(turn.request_id == draft.request_id for turn in turns):
            raise RequestIdTaken
        if sequence != (turns[-1].sequence if turns else 0) + 1:
            raise SequenceTaken
        turn = draft.placed(uuid.uuid4().hex, sequence, status, owner="")
        turns.append(turn)
        return turn

    async def _replace_running(self, turn: Turn, change: Callable[[Turn], Turn]) -> Turn:
        await _let_others_run()
        turns = self._all.get(self.session, [])
        for index, each in enumerate(turns):
            if each.id == turn.id:
                if each.status is not TurnStatus.RUNNING:
                    raise TurnTakenOver("the turn was ended by another server")
                turns[index] = change(each)
                return turns[index]
        raise SessionCleared("the session was cleared while the turn ran")


def _is_completed(turn: Turn) -> bool:
    return turn.status is TurnStatus.COMPLETED


def _visible(turns: list[Turn]) -> list[Turn]:
    return [turn for turn in turns if turn.status is not TurnStatus.CLEARED]


def _summary(key: SessionKey, turns: list[Turn]) -> SessionSummary:
    visible = _visible(turns)
    last = visible[-1]
    return SessionSummary(
        session=key,
        last_sequence=last.sequence,
        message_count=last.messages_so_far,
        created_at=visible[0].created_at,
        updated_at=last.updated_at,
    )


async def _let_others_run() -> None:
    """Pauses where a real store would, so that races show in tests on this backend too."""
    await asyncio.sleep(0)
