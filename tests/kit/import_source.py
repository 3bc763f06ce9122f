"""A source of histories in memory, and an import from any source, run to its end."""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage, message_to_dict

from turnkeep_server.history.contract import ChatMessageHistory, HistoryStore
from turnkeep_server.migration.langchain_import import ImportOptions, LangChainImport
from turnkeep_server.migration.report import Report
from turnkeep_server.migration.sources import Source, SourceSession
from turnkeep_server.request_limits import Limits
from turnkeep_server.turns import Message, SessionKey, Turn, TurnStatus

_COMPLETED = frozenset({TurnStatus.COMPLETED})


class ListedSource:
    """Sessions as lists of what is stored: messages, or what is none."""

    def __init__(self, sessions: Mapping[Any, Sequence[object]], name: str = "listed") -> None:
        self.name = name
        self._sessions = sessions

    async def count(self) -> int:
        """How many messages there are."""
        return sum(map(len, self._sessions.values()))

    async def sessions(self) -> AsyncGenerator[SourceSession]:
        """One for each list; a session of the key None has no id."""
        for key in self._sessions:
            yield SourceSession(None if key is None else str(key), key)

    async def messages(self, session: SourceSession) -> AsyncGenerator[object]:
        """The list's items, LangChain's messages as LangChain stores them."""
        for each in self._sessions[session.key]:
            yield json.dumps(message_to_dict(each)) if isinstance(each, BaseMessage) else each


async def imported(
    source: Source, store: HistoryStore | None, *, limits: Limits | None = None, **options: Any
) -> Report:
    """What an import says at its end."""
    report = Report(tell=lambda problem: None)
    how = ImportOptions(**options)
    await LangChainImport(source, store, report, options=how, limits=limits or Limits()).run()
    return report


def history_of(store: HistoryStore, session_id: str, user_id: str = "") -> ChatMessageHistory:
    """A session's history, of the tenant that everybody is."""
    return store.history(SessionKey("default", user_id, session_id))


async def turns_of(store: HistoryStore, session_id: str, user_id: str = "") -> Sequence[Turn]:
    """The session's completed turns."""
    return await history_of(store, session_id, user_id).page(_COMPLETED, limit=10_000)


async def messages_of(store: HistoryStore, session_id: str, user_id: str = "") -> list[Message]:
    """The session's messages."""
    turns = await turns_of(store, session_id, user_id)
    return [message for turn in turns for message in turn.messages]
