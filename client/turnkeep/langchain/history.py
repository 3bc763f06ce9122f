"""A session of Turnkeep as LangChain's chat message history."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

import turnkeep
import turnkeep.sync
from turnkeep.langchain.clients import Clients
from turnkeep.langchain.messages import from_turnkeep, to_turnkeep
from turnkeep.langchain.splitting import in_requests
from turnkeep.messages import Message
from turnkeep.requests import checked_ids

_PAGE_SIZE = 1_000


class TurnkeepChatMessageHistory(BaseChatMessageHistory):
    """The messages of one session, kept by Turnkeep. It needs no closing; the clients do.

    `client` serves the plain methods, `async_client` those that are awaited; the plain one serves
    both if it is alone, from threads. `limit` gives the newest messages only, whole turns, at most
    so many in all; without it, every read reads the whole session.
    All methods raise TurnkeepError; adding raises ValueError for what cannot be kept exactly.
    """

    def __init__(
        self,
        session_id: str,
        *,
        user_id: str = "",
        client: turnkeep.sync.ConversationClient | None = None,
        async_client: turnkeep.ConversationClient | None = None,
        limit: int | None = None,
    ) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"limit is at least 1 message, not {limit}")
        super().__init__()
        self.session_id, self.user_id = checked_ids(session_id, user_id)
        self.limit = limit
        self._clients = Clients(client, async_client)

    # A property in LangChain's own histories too, though the base class annotates an attribute.
    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """The messages of the session's completed turns, oldest first. Each access reads them."""
        session = self._session()
        if self.limit is None:
            return [from_turnkeep(each) for each in session.messages(page_size=_PAGE_SIZE)]
        newest = session.messages(newest_first=True, page_size=_page_size(self.limit))
        return _whole_turns(list(islice(newest, self.limit + 1)), self.limit)

    async def aget_messages(self) -> list[BaseMessage]:
        """The same, awaited."""
        if (session := self._async_session()) is None:
            return await super().aget_messages()
        if self.limit is None:
            return [from_turnkeep(each) async for each in session.messages(page_size=_PAGE_SIZE)]
        found: list[Message] = []
        # Not closed: between two messages it holds nothing open.
        async for each in session.messages(newest_first=True, page_size=_page_size(self.limit)):
            found.append(each)
            if len(found) > self.limit:
                break
        return _whole_turns(found, self.limit)

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Appends the messages as one turn, all or nothing.

        More than one AddMessages takes (500 messages, 2 MiB) become several turns, one after the
        other, and a call of a tool stays with its results. No messages are no turn.
        """
        session = self._session()
        for each in _requests(messages):
            session.add(each)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """The same, awaited."""
        if (session := self._async_session()) is None:
            await super().aadd_messages(messages)
            return
        for each in _requests(messages):
            await session.add(each)

    def clear(self) -> None:
        """Forgets the session."""
        self._session().clear()

    async def aclear(self) -> None:
        """The same, awaited."""
        if (session := self._async_session()) is None:
            await super().aclear()
        else:
            await session.clear()

    def __repr__(self) -> str:
        limit = f", limit={self.limit}" if self.limit else ""
        return f"TurnkeepChatMessageHistory({self.session_id!r}, user_id={self.user_id!r}{limit})"

    def _session(self) -> turnkeep.sync.Session:
        return self._clients.blocking.session(self.session_id, self.user_id)

    def _async_session(self) -> turnkeep.Session | None:
        client = self._clients.asynchronous
        return client.session(self.session_id, self.user_id) if client else None


def _requests(messages: Iterable[BaseMessage]) -> Iterator[list[Message]]:
    """All are translated before the first is sent: one that cannot be kept stops them all."""
    return in_requests([to_turnkeep(each) for each in messages])


def _page_size(limit: int) -> int:
    """One more than is wanted: the message before shows whether the oldest turn is whole."""
    return min(limit + 1, _PAGE_SIZE)


def _whole_turns(newest_first: Sequence[Message], limit: int) -> list[BaseMessage]:
    """Oldest first, without the turn of the message that is over the limit."""
    parted = newest_first[limit].sequence if len(newest_first) > limit else None
    kept = [each for each in newest_first if each.sequence != parted]
    return [from_turnkeep(each) for each in reversed(kept)]
