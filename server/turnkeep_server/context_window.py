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


def fit(turns: Sequence[Turn], max_messages: int) -> ContextWindow:
    """The newest completed turns, whole, that together have at most `max_messages` messages.

    `turns` come newest first. Turns that are not completed are left out. A tool's result is never
    parted from the turn that called the tool: where that one does not fit, neither does the result.
    """
    chosen: list[Turn] = []
    room = max_messages
    for turn in filter(_counts, turns):
        if len(turn.messages) > room:
            break
        room -= len(turn.messages)
        chosen.append(turn)
    while chosen and chosen[-1].messages[0].role is Role.TOOL:
        chosen.pop()
    messages = tuple(message for turn in reversed(chosen) for message in turn.messages)
    history = turns[0].messages_so_far if turns else 0
    return ContextWindow(messages, ContextReport(len(messages), history - len(messages)))


def _counts(turn: Turn) -> bool:
    return turn.status is TurnStatus.COMPLETED
