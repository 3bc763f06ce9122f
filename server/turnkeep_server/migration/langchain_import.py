"""All sessions of a source, taken over into a store, a few at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from turnkeep_server.caller import EVERYBODY
from turnkeep_server.errors import HistoryUnavailable
from turnkeep_server.history.contract import HistoryStore
from turnkeep_server.migration.grouping import TurnSize, Upcoming
from turnkeep_server.migration.reading import Reading, in_words
from turnkeep_server.migration.report import Report
from turnkeep_server.migration.session_import import (
    Rules,
    SessionImport,
    SessionRefused,
    request_ids,
)
from turnkeep_server.migration.sources import Source, SourceLost, SourceSession
from turnkeep_server.request_limits import Limits
from turnkeep_server.turns import SessionKey
from turnkeep_server.validation import session_violations

_SESSIONS_AT_ONCE = 4
_REQUEST_BYTES = 1_024  # an AddMessages without its messages, at most
_ALLOWED_IN_IDS = "!\"#$&'()*+,/:;<=>?@[\\]^`{|}"  # beside what is never quoted; not %


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How to take over. `tenant`, `user_id`: whose the sessions become.

    `sessions`: those that the source must have.

    `source_name`: instead of the one that the source has of itself. `append`: also to sessions that
    hold turns of another origin. `skip_unreadable`: go on behind a message that cannot be imported.
    `quote_session_ids`: what no session id may hold becomes %XX.
    """

    sessions: Collection[str] = ()
    tenant: str = EVERYBODY.tenant
    user_id: str = ""
    source_name: str = ""
    append: bool = False
    skip_unreadable: bool = False
    quote_session_ids: bool = False


class LangChainImport:
    """Takes over the sessions of a source into `store`; without one it only counts.

    `read`: is told of each message that was read.
    """

    def __init__(
        self,
        source: Source,
        store: HistoryStore | None,
        report: Report,
        *,
        options: ImportOptions,
        limits: Limits,
        read: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        report.source_name = self._source_name = options.source_name or source.name
        self._store = store
        self._report = report
        self._options = options
        self._limits = limits
        self._read = read
        self._missing = set(options.sessions)
        self._largest = TurnSize(limits.max_added_messages, limits.max_added_bytes - _REQUEST_BYTES)

    async def run(self) -> None:
        """Returns when all that can be is taken over; the report says what is."""
        async with aclosing(self._source.sessions()) as sessions:
            one_asks = asyncio.Lock()
            workers = (self._work(sessions, one_asks) for _ in range(_SESSIONS_AT_ONCE))
            await asyncio.gather(*(self._or_stop(each) for each in workers))
        if not self._report.stopped:
            for session_id in sorted(self._missing):
                self._report.problem(session_id, None, "the source has no such session")

    async def _work(self, sessions: AsyncIterator[SourceSession], one_asks: asyncio.Lock) -> None:
        while not self._report.stopped:
            async with one_asks:
                session = await anext(sessions, None)
            if session is None:
                return
            self._report.sessions += 1
            self._missing.discard(str(session.session_id))
            await self._take_over(session)

    async def _or_stop(self, work: Coroutine[Any, Any, None]) -> None:
        """Where source or store are lost, all stop: a new run goes on from what is stored."""
        try:
            await work
        except SourceLost as error:
            self._report.stopped = str(error)
        except HistoryUnavailable as error:
            self._report.stopped = f"{error.message}; run the import again"

    async def _take_over(self, session: SourceSession) -> None:
        reading = Reading(
            self._source,
            session,
            self._report,
            limits=self._limits,
            skip_unreadable=self._options.skip_unreadable,
            read=self._read,
        )
        async with aclosing(reading):
            taking = SessionImport(Upcoming(reading.items), self._rules(session), self._report)
            try:
                key = self._key(session)
                await taking.run(self._store.history(key) if self._store else None)
            except SessionRefused as refused:
                self._report.problem(str(session.session_id), None, str(refused))
            await reading.count_rest()
        self._report.left += reading.found - reading.unreadable - taking.taken

    def _rules(self, session: SourceSession) -> Rules:
        # What was a number there and what was a text are two sessions, though written alike.
        named = f"{type(session.key).__name__} {session.session_id}"
        ids = request_ids(self._source_name, named)
        return Rules(self._largest, self._options.append, ids)

    def _key(self, session: SourceSession) -> SessionKey:
        """Where the session goes. Raises SessionRefused for an id that no session can have."""
        if session.session_id is None:
            raise SessionRefused("the messages name no session")
        session_id, user_id, remedy = session.session_id, self._options.user_id, ""
        if self._options.quote_session_ids:
            session_id = quote(session_id, safe=_ALLOWED_IN_IDS)
        else:
            remedy = "; --quote-session-ids writes other characters as %XX"
        if wrong := list(session_violations(session_id, user_id, self._limits)):
            raise SessionRefused(in_words(wrong) + remedy)
        return SessionKey(self._options.tenant, user_id, session_id)
