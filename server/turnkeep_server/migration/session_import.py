"""One session, taken over: in order, nothing twice, however often it is begun.

How it knows what is there. Each turn has a request_id made of the source, the session and the index
of its first message. The first turn begins at message 0; a stored turn of n messages says that the
next one begins n messages on. So what is stored says where to go on, whoever stored it, even if the
source has grown since and turns would be cut otherwise now; and as a request_id is stored once, two
imports at a time go the same way and cannot both store the same step.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from turnkeep_server.commands import fingerprint
from turnkeep_server.counting import counted_messages
from turnkeep_server.history.contract import ChatMessageHistory, RequestIdTaken, SequenceTaken
from turnkeep_server.history.waiting import look_again_soon, wait_until_idle
from turnkeep_server.migration.grouping import Item, TurnSize, Upcoming, next_turn
from turnkeep_server.migration.report import Report
from turnkeep_server.turns import UNFINISHED, Turn, TurnDraft, TurnStatus, Usage

_ENDED = frozenset({TurnStatus.COMPLETED, *UNFINISHED})
_TURNS_A_READ = 100
_TURNS_A_WRITE = 100
_MOST_CONFLICTS = 50
_PREFIX = "import-"
_OTHER_TURNS = "holds turns that are not of this import; --append adds the rest behind them"
_OTHER_IMPORT = (
    "holds turns of an import from a source of another name; if it is the same one, moved, give "
    "its name in that run's report (--source-name); if not, --append adds it behind them"
)


class SessionRefused(Exception):
    """The session cannot be taken over, or not further; why. The operator decides."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How to take over: the largest turn, and whether to append to turns that are not the import's.

    `request_id`: what the turn that begins with a message has, by the message's index.
    """

    largest: TurnSize
    append: bool
    request_id: Callable[[int], str]


def request_ids(source: str, session: str) -> Callable[[int], str]:
    """The request_ids of a session of a source, by the index of a turn's first message."""

    def request_id(index: int) -> str:
        what = json.dumps([source, session, index])
        return f"{_PREFIX}{hashlib.sha256(what.encode()).hexdigest()[:48]}"

    return request_id


class SessionImport:
    """Takes over one session's messages, counting them in the report."""

    def __init__(self, upcoming: Upcoming, rules: Rules, report: Report) -> None:
        self._history: ChatMessageHistory | None = None
        self._upcoming = upcoming
        self._rules = rules
        self._report = report
        self._head = 0  # the sequence of the last record that was seen, or written
        self._messages_so_far = 0
        self.taken = 0
        """Messages that are there now: found there, or written."""
        self._obstacle = ""

    async def run(self, history: ChatMessageHistory | None) -> None:
        """Returns when all is in `history`; with none, it is only counted.

        Raises SessionRefused or HistoryUnavailable.
        """
        conflicts, self._history = 0, history
        if history:
            await self._catch_up(history)
        while turns := await self._next_turns():
            if self._obstacle and not self._rules.append:
                self._upcoming.put_back([item for turn in turns for item in turn])
                raise SessionRefused(self._obstacle)
            try:
                await self._store(turns)
            except (SequenceTaken, RequestIdTaken):
                # Another import, or a turn of somebody's: what is there now says how to go on.
                before = self.taken
                await self._again(turns)
                conflicts = 0 if self.taken > before else conflicts + 1
                if conflicts == _MOST_CONFLICTS:
                    raise SessionRefused(
                        "others keep writing to it; run the import again"
                    ) from None

    async def _again(self, turns: Sequence[Sequence[Item]]) -> None:
        assert self._history  # noqa: S101  # nothing else can be taken
        self._upcoming.put_back([item for turn in turns for item in turn])
        # Finishes a clear that was cut short, whose leftovers hold the request_id.
        await self._history.find(self._rules.request_id(turns[0][0].index))
        await look_again_soon()
        await self._catch_up(self._history)

    # --- what is there --------------------------------------------------------------------------

    async def _catch_up(self, history: ChatMessageHistory) -> None:
        """Passes over what is stored; the next message to take is then the first that is not."""
        while await self._upcoming.peek():
            turns = await history.page(_ENDED, limit=_TURNS_A_READ, after=self._head)
            for turn in turns:
                await self._pass(turn)
            if len(turns) == _TURNS_A_READ:
                continue
            tail = await history.tail(1)
            newest = tail.turns[0] if tail.turns else None
            if newest and newest.status is TurnStatus.RUNNING:
                self._obstacle = "a turn is running in it; --append waits for it and goes on after"
                if self._rules.append:
                    await wait_until_idle(history, newest)
                    continue
            elif newest and newest.sequence > self._head:
                continue
            elif tail.head > self._head:
                self._meet_clear(tail.head)
            self._head, self._messages_so_far = tail.head, tail.messages_so_far
            return

    def _meet_clear(self, tombstone: int) -> None:
        if self.taken:
            raise SessionRefused("was cleared while it was imported; what was imported is gone")
        self._obstacle = "was cleared in Turnkeep; --append imports it all the same"

    async def _pass(self, turn: Turn) -> None:
        self._head = turn.sequence
        item = await self._upcoming.peek()
        if item is None:
            return
        if turn.request_id != self._rules.request_id(item.index):
            self._obstacle = _OTHER_IMPORT if turn.request_id.startswith(_PREFIX) else _OTHER_TURNS
            return
        taken = await self._upcoming.take(len(turn.messages))
        for stored, ours in zip(turn.messages, taken, strict=False):
            if replace(stored, created_at=None) != ours.message:
                self._upcoming.put_back(taken)
                raise SessionRefused(
                    f"message {ours.index} is not the one that was imported in its place: the "
                    "source was changed, or another one has its name (--source-name)"
                )
        self.taken += len(taken)
        self._report.already_there += len(taken)

    # --- what is not ----------------------------------------------------------------------------

    async def _next_turns(self) -> list[list[Item]]:
        """Some turns to write at once, together no larger than one turn may be."""
        turns: list[list[Item]] = []
        size_bytes = 0
        while len(turns) < _TURNS_A_WRITE:
            turn = await next_turn(self._upcoming, self._rules.largest)
            size_bytes += sum(item.size_bytes for item in turn)
            if turns and size_bytes > self._rules.largest.size_bytes:
                self._upcoming.put_back(turn)
                break
            if not turn:
                break
            turns.append(turn)
        return turns

    async def _store(self, turns: Sequence[Sequence[Item]]) -> None:
        if self._history:
            before, drafts = self._messages_so_far, []
            for turn in turns:
                drafts.append(await self._draft(turn, before))
                before += len(turn)
            await self._history.append_all(drafts, self._head + 1)
            self._head += len(drafts)
            self._messages_so_far = before
        self.taken += sum(map(len, turns))
        self._report.turns += len(turns)
        self._report.imported += sum(map(len, turns))

    async def _draft(self, turn: Sequence[Item], before: int) -> TurnDraft:
        messages = tuple(item.message for item in turn)
        return TurnDraft(
            messages=await counted_messages(*messages),
            messages_before=before,
            request_id=self._rules.request_id(turn[0].index),
            fingerprint=fingerprint("import", *messages),
            model=next((item.model for item in reversed(turn) if item.model), ""),
            usage=sum((item.usage for item in turn), start=Usage()),
        )
