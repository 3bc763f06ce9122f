"""The model that summarises: its prompt, its limits, and how long it may take."""

import asyncio
from collections.abc import Callable, Sequence

from turnkeep_server.chain import Chain, Question
from turnkeep_server.commands import ModelOptions
from turnkeep_server.context_window import Estimate
from turnkeep_server.deadlines import Deadline
from turnkeep_server.errors import ModelUnavailable
from turnkeep_server.summary_text import clipped, piece, told_of, transcript
from turnkeep_server.turns import Message, Role, Turn

Spend = Callable[[int], None]
"""Is told how many tokens were used."""

_FOLD = "NOTES TO MAKE ONE SET OF, OLDEST FIRST:\n\n"


class Summarizer:
    """Asks a model for notes on turns.

    `chain`: a prompt and a model of its own. `estimate`: a message's size for that model.
    `estimate_notes`: a piece's size for whichever model is to be told of it. `input_tokens`: how
    much the model is given at once. `timeout_seconds`: how long an answer may take, retries
    included.
    """

    def __init__(
        self,
        chain: Chain,
        *,
        estimate: Estimate,
        estimate_notes: Estimate,
        input_tokens: int,
        timeout_seconds: float,
    ) -> None:
        self._chain = chain
        self._estimate = estimate
        self._estimate_notes = estimate_notes
        self.input_tokens = input_tokens
        # So that one long message does not keep all others out.
        self._longest_message_tokens = max(1, input_tokens // 4)
        self.timeout_seconds = timeout_seconds

    def size_of_turn(self, turn: Turn) -> int:
        """What the turn takes of `input_tokens`."""
        return sum(min(self._longest_message_tokens, self._estimate(m)) for m in turn.messages)

    async def notes_on(self, turns: Sequence[Turn], max_tokens: int, spend: Spend) -> Message:
        """A piece of a summary, at most `max_tokens` long. Raises a ModelError."""
        # In a thread: what is long is counted again and again until it is short enough.
        said = await asyncio.to_thread(
            transcript, turns, self._longest_message_tokens, self._estimate
        )
        return await self._ask(said, max_tokens, spend)

    async def fold(self, pieces: Sequence[Message], max_tokens: int, spend: Spend) -> Message:
        """One piece out of several, at most `max_tokens` long. Raises a ModelError."""
        said = _FOLD + "\n\n".join(each.text for each in pieces)
        return await self._ask(said, max_tokens, spend)

    def size_of(self, pieces: Sequence[Message]) -> int:
        """The estimated size of what is told of a summary of these pieces, in tokens."""
        return self._estimate_notes(told_of(pieces))

    def cut(self, pieces: Sequence[Message], max_tokens: int) -> tuple[Message, ...]:
        """The pieces, each cut so that they have no more than `max_tokens` together."""
        share = max_tokens // len(pieces)
        return tuple(piece(each.text, share, self._estimate_notes) for each in pieces)

    def _estimated(self, question: Question, reply: Message) -> int:
        return sum(map(self._estimate, (*question.always, reply)))

    async def _ask(self, text: str, max_tokens: int, spend: Spend) -> Message:
        # A turn of many messages may be longer than all that was meant to be given.
        given = await asyncio.to_thread(clipped, text, self.input_tokens, self._estimate)
        question = self._chain.question(
            Message(role=Role.USER, text=given),
            prompt="",
            variables={},
            options=ModelOptions(max_output_tokens=max_tokens),
        )
        reply = await self._chain.reply(question, Deadline.after(self.timeout_seconds))
        spend(reply.usage.total_tokens or self._estimated(question, reply.message))
        notes = piece(reply.message.text, max_tokens, self._estimate_notes)
        if not notes.text:
            raise ModelUnavailable("the summarising model wrote nothing")
        return notes
