"""What a source has stored of one session, turned into messages to take over."""

from collections.abc import AsyncGenerator, Callable, Iterable

from turnkeep_server.errors import FieldViolation
from turnkeep_server.migration.grouping import Item
from turnkeep_server.migration.langchain_messages import cost_of, langchain_message, message_of
from turnkeep_server.migration.report import Report
from turnkeep_server.migration.sources import Source, SourceSession, Unreadable
from turnkeep_server.request_limits import Limits
from turnkeep_server.validation import message_violations
from turnkeep_server.wire import said

# What a request adds to a message's own bytes: a tag and a length.
_FRAME_BYTES = 6


class Reading:
    """One session's messages, read once; close it.

    `found` and `unreadable` count them as they come. `skip_unreadable`: whether to go on behind a
    message that cannot be taken over. `read`: is told of every message.
    """

    def __init__(
        self,
        source: Source,
        session: SourceSession,
        report: Report,
        *,
        limits: Limits,
        skip_unreadable: bool,
        read: Callable[[], None],
    ) -> None:
        self._session_id = str(session.session_id)
        self._report = report
        self._limits = limits
        self._skip_unreadable = skip_unreadable
        self._read = read
        self._stored = source.messages(session)
        self.found = 0
        self.unreadable = 0
        self.items = self._items()
        """The messages that can be taken over, up to the first that cannot, or but for those."""

    async def aclose(self) -> None:
        """Lets go of the source."""
        await self.items.aclose()
        await self._stored.aclose()

    async def _items(self) -> AsyncGenerator[Item]:
        async for stored in self._stored:
            self._count()
            try:
                item = self._item(stored)
            except Unreadable as problem:
                self.unreadable += 1
                self._report.unreadable += 1
                self._report.problem(self._session_id, self.found - 1, str(problem))
                if not self._skip_unreadable:
                    return
            else:
                yield item

    async def count_rest(self) -> None:
        """Reads what is left, to count it."""
        async for _ in self._stored:
            self._count()

    def _count(self) -> None:
        self.found += 1
        self._read()

    def _item(self, stored: object) -> Item:
        """Raises Unreadable, also for what AddMessages would refuse: one rule for all there is."""
        if isinstance(stored, Unreadable):
            raise stored
        found = langchain_message(stored)
        message = message_of(found, self._limits)
        sent = said(message)
        if wrong := list(message_violations("message", sent, self._limits)):
            raise Unreadable(in_words(wrong))
        usage, model = cost_of(found)
        size_bytes = sent.ByteSize() + _FRAME_BYTES
        return Item(self.found - 1, message, size_bytes, usage, model)


def in_words(violations: Iterable[FieldViolation]) -> str:
    """The violations in one line; they quote nothing."""
    return "; ".join(f"{each.field} {each.description}" for each in violations)
