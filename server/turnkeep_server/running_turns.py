"""Turns of ours while they run: how they begin, and how their end is written, whatever it is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from turnkeep_server.chain import Question
from turnkeep_server.context import Context
from turnkeep_server.counting import counted_messages
from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import (
    ContextTooLarge,
    HistoryUnavailable,
    ModelMisconfigured,
    ModelQuotaExhausted,
    ModelRateLimited,
    ModelRefusedRequest,
    ModelUnavailable,
    TurnkeepError,
)
from turnkeep_server.history.contract import ChatMessageHistory
from turnkeep_server.recording import step
from turnkeep_server.turns import Message, Reply, Role, Turn, TurnDraft, TurnStatus, Usage
from turnkeep_server.writes import Writes

Spend = Callable[[str, int], None]
"""Is told of a tenant's tokens; returns at once."""

# What the provider did not take is not paid for.
_NOT_TAKEN = (
    ContextTooLarge,
    ModelMisconfigured,
    ModelQuotaExhausted,
    ModelRateLimited,
    ModelRefusedRequest,
    ModelUnavailable,
)


@dataclass(frozen=True, slots=True)
class Running:
    """A turn of ours, and what the model is asked for it."""

    history: ChatMessageHistory
    turn: Turn
    question: Question
    context: Context
    deadline: Deadline


class RunningTurns:
    """Begins turns, and writes how each of them ended.

    `size`: the tokens of a message, for a model. `spend`: is told what each turn used that asked
    the model, however it ended.
    """

    def __init__(self, writes: Writes, size: Callable[[str, Message], int], spend: Spend) -> None:
        self._writes = writes
        self._size = size
        self._spend = spend

    async def begin(
        self, history: ChatMessageHistory, draft: TurnDraft, sequence: int, deadline: Deadline
    ) -> Turn:
        """The turn, running at its place; given back if its caller hangs up or cannot wait.

        An insert that is cut off may land all the same. Nobody would know of that turn, and the
        session would stand still on all other servers until its lease has run out.
        """
        task = self._writes.begun(history.begin(draft, sequence))
        try:
            return await self._writes.seen_through(task, deadline)
        except (asyncio.CancelledError, HistoryUnavailable):
            self._writes.begun(self._give_back(history, task))
            raise

    @asynccontextmanager
    async def ending(self, running: Running, said: Sequence[str]) -> AsyncIterator[None]:
        """Writes onto the turn how its body ended, if it ended early; `said` is what had come."""
        try:
            yield
        except Exception as error:
            reason = error.reason if isinstance(error, TurnkeepError) else "INTERNAL"
            if said or not isinstance(error, _NOT_TAKEN):
                self._writes.begun(self._count(running, said))
            await self._give_up(running, TurnStatus.FAILED, reason, said)
            raise
        except BaseException:
            # CancelledError or GeneratorExit: the caller hung up.
            self._writes.begun(self._count(running, said))
            await self._give_up(running, TurnStatus.CANCELLED, "", said)
            raise

    async def commit(self, running: Running, reply: Reply) -> Turn:
        """The turn, completed and durable.

        Raises HistoryUnavailable, or what tells that the turn was cleared or taken over.
        """

        async def write() -> Turn:
            (message,) = await counted_messages(reply.message)
            whole = Reply(message, reply.finish_reason, reply.usage)
            self._tell_used(running, reply.usage, message)
            return await running.history.complete(running.turn, whole)

        with step("history.commit"):
            return await self._writes.seen_through(write(), running.deadline)

    async def _give_up(
        self, running: Running, status: TurnStatus, reason: str, said: Sequence[str]
    ) -> None:
        try:
            write = running.history.fail(running.turn, status, reason, "".join(said))
            with step("history.fail"):
                await self._writes.seen_through(write, running.deadline)
        except TurnkeepError as error:
            # The caller is told why the turn failed, not that its failing was not written: the
            # turn was cleared or taken over, or its lease runs out and it reads FAILED then.
            structlog.get_logger().warning("turn_end_not_written", reason=error.reason)

    async def _count(self, running: Running, said: Sequence[str]) -> None:
        (message,) = await counted_messages(Message(Role.ASSISTANT, text="".join(said)))
        self._tell_used(running, Usage(), message)

    def _tell_used(self, running: Running, usage: Usage, said: Message) -> None:
        """What the provider reported, or the estimate where it reported nothing."""
        reported = usage.total_tokens or usage.input_tokens + usage.output_tokens
        sent = running.context.report.estimated_input_tokens
        tokens = reported or sent + self._size(running.question.model, said)
        self._spend(running.history.session.tenant, tokens)

    async def _give_back(self, history: ChatMessageHistory, begun: asyncio.Task[Turn]) -> None:
        await asyncio.wait({begun})
        if begun.exception() is None:
            await history.fail(begun.result(), TurnStatus.CANCELLED, "", "")
