"""Which of the history's messages go to the model. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from turnkeep_server.turns import ContextReport, Message, Role, Turn, TurnStatus


@dataclass(frozen=True, slots=True)
class ContextWindow:
    """Messages of the history, oldest first, as they go to the model.

    `full`: turns older than those it was made of would add nothing, and need not be read.
    """

    messages: tuple[Message, ...]
    report: ContextReport
    full: bool


def fit(turns: Sequence[Turn], max_messages: int, question: Role = Role.USER) -> ContextWindow:
    """The newest completed turns, whole, that together have at most `max_messages` messages.

    `turns` come newest first; `question` is the role of the message that will follow them. Turns
    that are not completed are left out. A tool call and its result go together or not at all, as
    providers demand: a result whose call does not fit is left out, and so is a call that nothing
    answers.
    """
    chosen: list[Turn] = []
    room, following, full = max_messages, question, max_messages == 0
    for turn in filter(_counts, turns):
        if turn.messages[-1].tool_calls and following is not Role.TOOL:
            continue
        room -= len(turn.messages)
        full = room <= 0
        if room < 0:
            break
        following = turn.messages[0].role
        chosen.append(turn)
    while chosen and chosen[-1].messages[0].role is Role.TOOL:
        chosen.pop()
    messages = tuple(message for turn in reversed(chosen) for message in turn.messages)
    history = turns[0].messages_so_far if turns else 0
    report = ContextReport(len(messages), history - len(messages))
    return ContextWindow(messages, report, full)


def _counts(turn: Turn) -> bool:
    return turn.status is TurnStatus.COMPLETED
