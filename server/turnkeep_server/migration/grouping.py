"""Which of a session's messages make a turn. Reads no further ahead than it must."""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from turnkeep_server.turns import Message, Role, Usage


@dataclass(frozen=True, slots=True)
class Item:
    """A message to take over: its place in its session, from 0, and its size on the wire.

    `usage` and `model`: what it cost, and who said it, where that is known.
    """

    index: int
    message: Message
    size_bytes: int
    usage: Usage = field(default_factory=Usage)
    model: str = ""


@dataclass(frozen=True, slots=True)
class TurnSize:
    """How large a turn may be: what AddMessages takes."""

    messages: int
    size_bytes: int


class Upcoming:
    """A session's messages that are still to be taken, in order."""

    def __init__(self, items: AsyncIterator[Item]) -> None:
        self._items = items
        self._held: deque[Item] = deque()

    async def peek(self) -> Item | None:
        """The next message, which stays; None at the end."""
        if not self._held and (item := await anext(self._items, None)):
            self._held.append(item)
        return self._held[0] if self._held else None

    async def take(self, count: int) -> list[Item]:
        """The next messages, fewer only at the end."""
        taken: list[Item] = []
        while len(taken) < count and await self.peek():
            taken.append(self._held.popleft())
        return taken

    def put_back(self, items: Sequence[Item]) -> None:
        """Has messages that were taken come next again."""
        self._held.extendleft(reversed(items))


async def next_turn(upcoming: Upcoming, largest: TurnSize) -> list[Item]:
    """The messages of the next turn; none at the end.

    A turn is a question with all that follows it until the next question; what comes before the
    first question is a turn too. One that is larger than a turn may be is cut where no tool call
    waits for its result, as late as that can be; where there is no such place, at its limit.
    """
    turn: list[Item] = []
    size_bytes, cut, unanswered = 0, 0, set[str]()
    while item := await upcoming.peek():
        if turn and item.message.role is Role.USER:
            break
        size_bytes += item.size_bytes
        if len(turn) == largest.messages or (turn and size_bytes > largest.size_bytes):
            upcoming.put_back(turn[cut:] if cut else ())
            return turn[:cut] if cut else turn
        turn += await upcoming.take(1)
        unanswered = _unanswered(item.message, unanswered)
        if not unanswered:
            cut = len(turn)
    return turn


def _unanswered(message: Message, before: set[str]) -> set[str]:
    """The tool calls that wait for their results behind this message."""
    if message.role is Role.TOOL:
        return before - {message.tool_call_id}
    return {call.id for call in message.tool_calls}
