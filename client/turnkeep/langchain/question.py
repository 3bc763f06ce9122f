"""What a LangChain program asks, as one turn's input."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from langchain_core.prompt_values import PromptValue

from turnkeep.langchain.messages import to_turnkeep
from turnkeep.messages import Message

Question = str | BaseMessage | Sequence[BaseMessage] | PromptValue | Mapping[str, Any]
"""A text, a message (human, or a tool's result), either in a list of one, what a prompt template
makes of one, or a dict of a question and the prompt's variables."""


def content_and_variables(
    question: Question, question_key: str
) -> tuple[str | Message, Mapping[str, str]]:
    """The turn's content, and the variables that came with it.

    Raises ValueError for what is more than one question, TypeError for what is none.
    """
    if not isinstance(question, Mapping):
        return _content(question), {}
    if question_key not in question:
        raise ValueError(f"the input has no {question_key!r}; it has {sorted(question)}")
    variables = {name: value for name, value in question.items() if name != question_key}
    for name, value in variables.items():
        if not isinstance(value, str):
            raise TypeError(
                f"{name} is a {type(value).__name__}; the prompt's variables are texts, and the "
                "history is the service's own"
            )
    return _content(question[question_key]), variables


def _content(question: object) -> str | Message:
    if isinstance(question, str):
        return question
    message = _one_message(question)
    if not isinstance(message, HumanMessage | ToolMessage):
        raise ValueError(  # noqa: TRY004 - it is a message, and the wrong one
            f"a question is a human message, or a tool's result, not {message.type!r}: "
            "instructions are a prompt of the service, and other messages are added by "
            "TurnkeepChatMessageHistory"
        )
    return to_turnkeep(message)


def _one_message(question: object) -> BaseMessage:
    match question:
        case BaseMessage():
            return question
        case PromptValue():
            return _one_message(question.to_messages())
        case [BaseMessage() as message]:
            return message
        case [*messages]:
            raise ValueError(
                f"one question makes a turn, not {len(messages)} messages: the service keeps the "
                "history and has the prompts"
            )
    raise TypeError(f"a question is a text or a message, not a {type(question).__name__}")
