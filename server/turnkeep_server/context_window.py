"""Which of the history's messages go to the model. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from turnkeep_server.turns import ContextReport, Message, Role, Turn, TurnStatus


@dataclass(frozen=True, slots=True)
class ContextWindow:
    """Messages of the history, oldest first, as they go to the model."""

    messages: tuple[Message, ...]
    report: ContextReport


def is_met(turns: Iterable[Turn], max_messages: int) -> bool:
    """Whether these turns, newest first, hold all that `fit` takes: no older one need be read."""
    return sum(len(turn.messages) for turn in turns if _counts(turn)) >= max_messages


def fit(turns: Sequence[Turn], max_messages: int, question: Role = Role.USER) -> ContextWindow:
    """The newest completed turns, whole, that together have at most `max_messages` messages.

    `turns` come newest first; `question` is the role of the message that will follow them. Turns that
    are not completed are left out. A tool call and its result go together or not at all, as providers
    demand: a result whose call does not fit is left out, and so is a call that nothing answers.
    """
    chosen: list[Turn] = []
    room, following = max_messages, question
    for turn in filter(_counts, turns):
        if len(turn.messages) > room:
            break
        if turn.messages[-1].tool_calls and following is not Role.TOOL:
            continue
        room -= len(turn.messages)
        following = turn.messages[0].role
        chosen.append(turn)
    while chosen and chosen[-1].messages[0].role is Role.TOOL:
        chosen.pop()
    messages = tuple(message for turn in reversed(chosen) for message in turn.messages)
    history = turns[0].messages_so_far if turns else 0
    return ContextWindow(messages, ContextReport(len(messages), history - len(messages)))


def _counts(turn: Turn) -> bool:
    return turn.status is TurnStatus.COMPLETED
