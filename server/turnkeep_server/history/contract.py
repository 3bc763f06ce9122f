"""The contract of a history: what every backend does, stated once.

A store is one connection a process. It opens histories, one a request, which share it. Every
operation of a history is atomic: a turn is one record, seen whole or not at all.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from turnkeep_server.deadlines import Deadline
from turnkeep_server.turns import (
    Reply,
    SessionKey,
    SessionSummary,
    Summary,
    Turn,
    TurnDraft,
    TurnStatus,
)


class SequenceTaken(Exception):
    """Somebody else was first at this place of the session. Read the tail again."""


class RequestIdTaken(Exception):
    """The session has a turn, running or completed, under this request_id. Find it."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The newest part of a session.

    `turns` are newest first and end at the session's last clear. `head` is the sequence of the
    newest record, a tombstone included; 0 if there never was one. `whole` says that there are no
    older turns than these.
    """

    turns: tuple[Turn, ...]
    head: int
    whole: bool

    @property
    def running(self) -> Turn | None:
        """The turn that holds the session now. Only the newest one can."""
        newest = self.turns[0] if self.turns else None
        return newest if newest and newest.status is TurnStatus.RUNNING else None

    @property
    def messages_so_far(self) -> int:
        """Messages of the session's completed turns since its last clear."""
        return self.turns[0].messages_so_far if self.turns else 0


@dataclass(frozen=True, slots=True)
class Cleared:
    """How much a clear removed, unfinished turns included."""

    messages: int = 0
    turns: int = 0


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a user's sessions, newest activity first; the next one is older."""

    updated_at: datetime
    session_id: str


class ChatMessageHistory(ABC):
    """One session's turns, for one request.

    Every operation raises HistoryUnavailable if the store does not answer in time.
    """

    session: SessionKey

    @abstractmethod
    async def tail(self, limit: int) -> Tail:
        """The session's newest turns of any status, at most `limit`."""

    @abstractmethod
    async def begin(self, draft: TurnDraft, sequence: int) -> Turn:
        """Reserves a place: stores the turn as RUNNING at `sequence`, under a lease.

        `sequence` is one more than the head of a tail that the caller has read.

        The lease is renewed until the turn is completed or failed, or this process dies.
        Raises SequenceTaken or RequestIdTaken; nothing is stored then. Not bound by the request's
        deadline: whoever cannot wait lets it end, and ends the turn that comes of it.
        """

    @abstractmethod
    async def append(self, draft: TurnDraft, sequence: int) -> Turn:
        """Stores the turn as COMPLETED at `sequence`; raises as `begin`."""

    @abstractmethod
    async def append_all(self, drafts: Sequence[TurnDraft], sequence: int) -> Sequence[Turn]:
        """Stores the turns as COMPLETED, the first at `sequence`, each at the next place.

        Each is atomic, all together are not: they are stored in order, and where one is refused,
        those before it may be there and those behind it are not. Raises as `append` then; where
        two refusals could be told, SequenceTaken. Each draft counts the ones before it in its
        `messages_before`.
        """

    @abstractmethod
    async def complete(self, turn: Turn, reply: Reply) -> Turn:
        """Commits a running turn with its reply; durable on return.

        Raises SessionCleared or TurnTakenOver if the turn is not ours and running any more;
        nothing is written then. Not bound by the request's deadline.
        """

    @abstractmethod
    async def fail(self, turn: Turn, status: TurnStatus, failure: str, partial_text: str) -> None:
        """Ends a running turn as FAILED or CANCELLED, keeping what had come of the reply.

        The turn gives up its request_id, so that the caller may try again with the same one.
        Raises as `complete`.
        """

    @abstractmethod
    async def find(self, request_id: str) -> Turn | None:
        """The session's running or completed turn under this request_id."""

    @abstractmethod
    async def is_running(self, turn: Turn) -> bool:
        """Whether this turn is still RUNNING; reads one record at most."""

    @abstractmethod
    async def announce_wait(self, turn: Turn) -> None:
        """Leaves word on a running turn that this process waits for its end."""

    @abstractmethod
    def is_awaited_elsewhere(self, turn: Turn) -> bool:
        """Whether another process has left word that it waits for this turn's end."""

    @abstractmethod
    async def take_over(self, turn: Turn) -> bool:
        """Ends a running turn as FAILED if nobody works on it any more; says whether it did.

        Nobody does if its lease has run out by the store's own clock and is still not renewed when
        this is called again a moment later, or if it is this process's, which has given it up.
        """

    @abstractmethod
    async def clear_session(self) -> Cleared:
        """Forgets the session, atomically for every reader. Does not wait for a running turn."""

    @abstractmethod
    async def page(
        self,
        statuses: Collection[TurnStatus],
        *,
        limit: int,
        newest_first: bool = False,
        after: int | None = None,
    ) -> Sequence[Turn]:
        """At most `limit` turns of these statuses, strictly beyond sequence `after`.

        Fewer than `limit` means that there are no more. Never a turn from before a clear.
        """

    @abstractmethod
    async def summary(self) -> Summary | None:
        """The session's newest summary since its last clear. Reads one record at most."""

    @abstractmethod
    async def claim_summary(self, after: Summary | None, seconds: float) -> bool:
        """Whether this process is to write the summary that follows `after`, for so many seconds.

        At most one is, of all processes. The claim is not given back: who fails leaves it to run
        out, so that a summary that cannot be written is not tried at every turn.
        """

    @abstractmethod
    async def summarize(self, summary: Summary) -> bool:
        """Writes a summary onto the turn that it goes through; its messages stay as they are.

        False, and nothing is written, if that turn is gone: the session was cleared meanwhile.
        """


@dataclass(frozen=True, slots=True)
class StoreFigures:
    """How a store does: connections to its database now, and what its leases came to so far.

    `operations_waiting`: for a connection to be free. `leases_renewed` counts updates, each of all
    leases held then; `turns_taken_over`, turns of dead servers that this one ended.
    """

    connections_in_use: int = 0
    connections_idle: int = 0
    operations_waiting: int = 0
    leases_held: int = 0
    leases_renewed: int = 0
    leases_not_renewed: int = 0
    turns_taken_over: int = 0


class HistoryStore(ABC):
    """One connection to where histories live; opened, and closed, as a context manager."""

    def figures(self) -> StoreFigures:
        """How it does now. A store without connections or leases has nothing to tell."""
        return StoreFigures()

    @abstractmethod
    def history(self, session: SessionKey, deadline: Deadline | None = None) -> ChatMessageHistory:
        """A session's history for one request, whose reads and appends end at its deadline."""

    @abstractmethod
    async def sessions(
        self,
        tenant: str,
        user_id: str,
        *,
        limit: int,
        after: Position | None = None,
        deadline: Deadline | None = None,
    ) -> Sequence[SessionSummary]:
        """At most `limit` of a user's sessions, newest activity first, beyond `after`.

        Raises ValueError without a tenant.
        """

    @abstractmethod
    async def share_tokens(
        self, day: int, mine: Mapping[str, int], tenants: Collection[str]
    ) -> Mapping[str, tuple[int, int]]:
        """Keeps what this process has used of a day in all, by tenant; returns what is kept of it,
        and of all others.

        `day` counts from 1970-01-01, UTC. Telling the same again, or less, changes nothing. A
        process that is started anew is another one. Raises HistoryUnavailable.
        """

    @abstractmethod
    async def ping(self) -> None:
        """Returns if a store that takes writes answers now; else raises HistoryUnavailable."""

    @abstractmethod
    async def repair(self) -> int:
        """Rebuilds what is derived from the turns; returns the number of sessions looked at."""
