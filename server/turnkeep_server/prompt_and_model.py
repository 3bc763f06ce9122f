"""The stock chain, `prompt | model`: built once a process for each prompt."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableConfig, RunnableSequence

from turnkeep_server.chain import ChainForm, ChainInput, Question
from turnkeep_server.commands import ModelOptions
from turnkeep_server.messages import to_langchain
from turnkeep_server.model_catalog import Models
from turnkeep_server.model_failures import FAILURES
from turnkeep_server.prompts import Prompt, Prompts
from turnkeep_server.tokens import counted
from turnkeep_server.turns import Message, Role


class PromptAndModel(ChainForm):
    """`ChatPromptTemplate(system, chat_history, human) | model`.

    `model` answers as the model named `built_for` unless a call names another one.
    """

    failures = FAILURES
    tells_ends = True
    sends_no_more = True

    def __init__(
        self, model: BaseChatModel, *, built_for: str, prompts: Prompts, models: Models
    ) -> None:
        self._model = model
        self._built_for = built_for
        self._models = models
        self._prompts = prompts
        # Kept as long as their prompt is: by `_prompts`, or by a turn that began before `use`.
        self._sequences = WeakKeyDictionary[Prompt, _Sequences]()

    def use(self, prompts: Prompts) -> None:
        """Other prompts for the questions from now on; those that were made keep their own."""
        self._prompts = prompts

    def question(
        self,
        message: Message,
        *,
        prompt: str,
        variables: Mapping[str, str],
        options: ModelOptions,
    ) -> Question:
        picked, values = self._prompts.pick(prompt, variables)
        options = options.over(picked.options)
        return Question(
            message=message,
            system=_system_message(picked.system_text(values)),
            prompt=picked,
            variables=values,
            model=self._models.resolve(options.model),
            options=options,
        )

    def runnable(
        self, question: Question
    ) -> tuple[Runnable[ChainInput, BaseMessage], ChainInput, RunnableConfig | None]:
        sequences = self._sequences_of(question.prompt)
        given: ChainInput = {
            **question.variables,
            "chat_history": [to_langchain(each) for each in question.history],
        }
        if is_plain(question.message):
            sequence, given["question"] = sequences.text, question.message.text
        else:
            sequence, given["question"] = sequences.message, [to_langchain(question.message)]
        bound = self._bound(question)
        return sequence.first | self._model.bind(**bound) if bound else sequence, given, None

    def _sequences_of(self, prompt: Prompt) -> "_Sequences":
        sequences = self._sequences.get(prompt)
        if sequences is None:
            sequences = self._sequences[prompt] = _Sequences.of(prompt, self._model)
        return sequences

    def _bound(self, question: Question) -> dict[str, Any]:
        asked = options_of(question)
        if question.model == self._built_for:
            del asked["model"]
        return asked


def options_of(question: Question) -> dict[str, Any]:
    """The model and the options that are set, under the names that LangChain's models know."""
    options = question.options
    asked = {
        "model": question.model,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "max_tokens": options.max_output_tokens,
        "seed": options.seed,
        "stop": list(options.stop) or None,
    }
    return {name: value for name, value in asked.items() if value is not None}


def is_plain(message: Message) -> bool:
    """Whether the message is a user's text and nothing more."""
    return message.role is Role.USER and not message.parts and not message.name


@lru_cache(maxsize=256)
def _system_message(text: str) -> Message:
    """Counted once: prompts are long, and the same for many turns."""
    return counted(Message(role=Role.SYSTEM, text=text))


@dataclass(frozen=True, slots=True)
class _Sequences:
    """A prompt's two chains: for a plain text, and for a question with parts or a tool's result.

    A text is a value of the template, never a template itself: its braces stay braces.
    """

    text: RunnableSequence[ChainInput, BaseMessage]
    message: RunnableSequence[ChainInput, BaseMessage]

    @classmethod
    def of(cls, prompt: Prompt, model: BaseChatModel) -> "_Sequences":
        system, history = ("system", prompt.system), MessagesPlaceholder("chat_history")
        text = ChatPromptTemplate([system, history, ("human", "{question}")])
        message = ChatPromptTemplate([system, history, MessagesPlaceholder("question")])
        return cls(RunnableSequence(text, model), RunnableSequence(message, model))
