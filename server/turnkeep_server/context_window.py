"""Which of the history's messages go to the model. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from turnkeep_server.errors import ContextTooLarge
from turnkeep_server.tokens import REPLY_PRIMING_TOKENS
from turnkeep_server.turns import ContextReport, Message, Role, Turn, TurnStatus

Estimate = Callable[[Message], int]
"""A message's size in tokens, overhead included; at least 1."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be sent: tokens by the estimate, and messages of the history."""

    tokens: int
    messages: int


@dataclass(frozen=True, slots=True)
class ContextWindow:
    """Messages of the history, oldest first, as they go to the model.

    `tokens`: their estimated size. `full`: turns older than those it was made of would add nothing,
    and need not be read. `begins_at`: the sequence of its oldest turn, None if it is empty.
    """

    messages: tuple[Message, ...]
    tokens: int
    full: bool
    begins_at: int | None
    omitted_messages: int

    def report(self, always: int, summary: int = 0) -> ContextReport:
        """What is told of it. `always`, `summary`: the tokens that are sent beside it."""
        return ContextReport(
            included_messages=len(self.messages),
            omitted_messages=self.omitted_messages,
            summary_used=summary > 0,
            estimated_input_tokens=always + summary + self.tokens,
        )


def size_of_all(messages: Sequence[Message], estimate: Estimate) -> int:
    """The estimated size of a prompt of these messages, in tokens."""
    return REPLY_PRIMING_TOKENS + sum(map(estimate, messages))


def room_beside(always: int, budget: Budget) -> Budget:
    """What the budget leaves for the history beside `always`, the tokens of what must be sent.

    Raises ContextTooLarge if that alone is over the budget.
    """
    if always > budget.tokens:
        raise ContextTooLarge(
            f"the prompt and the new message have about {always} tokens, and {budget.tokens} are "
            "allowed; send less, or allow more: by context.max_input_tokens as far as the model "
            "reads it, or by a smaller options.max_output_tokens",
            needed_tokens=str(always),
            max_input_tokens=str(budget.tokens),
        )
    return Budget(budget.tokens - always, budget.messages)


def fit(
    turns: Sequence[Turn], room: Budget, estimate: Estimate, question: Message | None = None
) -> ContextWindow:
    """The newest completed turns, whole, that together are within `room`.

    `turns` come newest first; `question` is the message that will follow them. Turns that are not
    completed are left out. A tool call and its results go together or not at all, as providers
    demand: a window never begins between them, and turns with a call that not all results follow,
    or with results that no call precedes, are left out.
    """
    chosen: list[Turn] = []
    exchange: list[Turn] = []  # turns that only go together with older ones
    sent = _Size()
    with_exchange = sent
    answers = _asked_for_by(question, turns)
    full = room.tokens <= 0 or room.messages <= 0
    for turn in turns:
        if full:
            break
        if turn.status is not TurnStatus.COMPLETED:
            continue
        open_answers = _unasked(turn, answers)
        if open_answers is None and answers:
            # The newer turns' results are nobody's; this turn may be well by itself.
            exchange, with_exchange = [], sent
            open_answers = _unasked(turn, frozenset())
        if open_answers is None:
            answers = frozenset()
            continue
        answers = open_answers
        exchange.append(turn)
        with_exchange = with_exchange.and_of(turn, estimate)
        if answers:
            continue
        if not with_exchange.is_within(room):
            full = True
            break
        chosen += exchange
        exchange, sent = [], with_exchange
        full = sent.tokens == room.tokens or sent.messages == room.messages
    return ContextWindow(
        messages=tuple(message for turn in reversed(chosen) for message in turn.messages),
        tokens=sent.tokens,
        full=full,
        begins_at=chosen[-1].sequence if chosen else None,
        omitted_messages=(turns[0].messages_so_far if turns else 0) - sent.messages,
    )


@dataclass(frozen=True, slots=True)
class _Size:
    tokens: int = 0
    messages: int = 0

    def and_of(self, turn: Turn, estimate: Estimate) -> "_Size":
        tokens = self.tokens + sum(map(estimate, turn.messages))
        return _Size(tokens, self.messages + len(turn.messages))

    def is_within(self, room: Budget) -> bool:
        return self.tokens <= room.tokens and self.messages <= room.messages


def _unasked(turn: Turn, answers: frozenset[str]) -> frozenset[str] | None:
    """The ids of tool results whose calls must come before this turn.

    `answers` are those of the results that follow it. None if a call of the turn is not answered by
    just the results behind it, each once, or a result answers no call.
    """
    for message in reversed(turn.messages):
        if message.role is Role.TOOL:
            if message.tool_call_id in answers:
                return None
            answers |= {message.tool_call_id}
        elif message.tool_calls:
            if answers != {call.id for call in message.tool_calls}:
                return None
            answers = frozenset()
        elif answers:
            return None
    return answers


def _asked_for_by(question: Message | None, turns: Sequence[Turn]) -> frozenset[str]:
    """What counts as answered once the question is there: all that is left of a call it answers.

    So that its call is sent, and a provider can say what is missing.
    """
    if question is None or question.role is not Role.TOOL:
        return frozenset()
    completed = (turn for turn in turns if turn.status is TurnStatus.COMPLETED)
    answered: set[str] = set()
    for message in (each for turn in completed for each in reversed(turn.messages)):
        if message.role is not Role.TOOL:
            called = {call.id for call in message.tool_calls}
            return frozenset(called - answered if question.tool_call_id in called else ())
        answered.add(message.tool_call_id)
    return frozenset()
