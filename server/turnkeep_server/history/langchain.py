"""LangChain's interface to a history: one thin layer over the turn operations.

The class every backend extends, so that each is a `BaseChatMessageHistory` too (its async side),
for programs that know that interface. Turnkeep itself never drives a turn through it.
"""

from collections.abc import Sequence

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from turnkeep_server.history.contract import ChatMessageHistory, SequenceTaken
from turnkeep_server.history.waiting import look_again_soon, wait_until_idle
from turnkeep_server.messages import from_langchain, to_langchain
from turnkeep_server.tokens import counted
from turnkeep_server.turns import TurnDraft, TurnStatus

_TURNS_A_READ = 100


class LangChainChatMessageHistory(ChatMessageHistory, BaseChatMessageHistory):
    """A history under LangChain's names, async only.

    Every method but `aclear` and `aadd_messages` reads the whole session: LangChain's interface
    has no bounded read.
    """

    async def aget_messages(self) -> list[BaseMessage]:
        """All messages of the session's completed turns, oldest first."""
        messages: list[BaseMessage] = []
        after: int | None = None
        while True:
            turns = await self.page({TurnStatus.COMPLETED}, limit=_TURNS_A_READ, after=after)
            messages += [to_langchain(each) for turn in turns for each in turn.messages]
            if len(turns) < _TURNS_A_READ:
                return messages
            after = turns[-1].sequence

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Appends the messages as one completed turn, after any that is running."""
        stored = tuple(counted(from_langchain(each)) for each in messages)
        while stored:
            tail = await self.tail(1)
            if tail.running:
                await wait_until_idle(self, tail.running)
                continue
            try:
                draft = TurnDraft(messages=stored, messages_before=tail.messages_so_far)
                await self.append(draft, tail.head + 1)
            except SequenceTaken:
                await look_again_soon()
            else:
                return

    async def aclear(self) -> None:
        """Forgets the session."""
        await self.clear_session()

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Not served: the store is async. Raises NotImplementedError."""
        raise NotImplementedError("Turnkeep's histories are async: await aadd_messages(...)")

    def clear(self) -> None:
        """Not served: the store is async. Raises NotImplementedError."""
        raise NotImplementedError("Turnkeep's histories are async: await aclear()")
