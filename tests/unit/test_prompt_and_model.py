"""`prompt | model`: filled with what was said as it was said, and changed while turns run."""

import gc
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from turnkeep_server.chain import Chain, Question
from turnkeep_server.commands import ModelOptions
from turnkeep_server.deadlines import Deadline
from turnkeep_server.model_catalog import Models
from turnkeep_server.prompt_and_model import PromptAndModel
from turnkeep_server.prompts import DEFAULT, Prompts, parse_prompt
from turnkeep_server.turns import Message, Role

AWKWARD = "{topic} {0} {{x}} 说 $y"
OPTIONS = ModelOptions("gpt-4o", 0.5, 0.9, 100, 1, ("СТОП",))


class Listener(BaseChatModel):
    """Answers at once, and keeps what it was asked."""

    inputs: list[list[str]]

    @property
    def _llm_type(self) -> str:
        return "listener"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.inputs.append([each.text for each in messages])
        reply = AIMessage(content="да", response_metadata={"finish_reason": "stop"})
        return ChatResult(generations=[ChatGeneration(message=reply)])


@pytest.fixture
def model() -> Listener:
    return Listener(inputs=[])


def prompts(system: str, options: ModelOptions | None = None) -> Prompts:
    return Prompts({DEFAULT: parse_prompt(DEFAULT, system, options=options)})


def form_of(model: Listener, first: Prompts) -> PromptAndModel:
    models = Models("m", {"gpt-4o"}, {})
    return PromptAndModel(model, built_for="m", prompts=first, models=models)


def question(form: PromptAndModel, options: ModelOptions | None = None) -> Question:
    return form.question(
        Message(Role.USER, AWKWARD),
        prompt="",
        variables={"topic": AWKWARD},
        options=options or ModelOptions(),
    )


async def test_what_was_said_is_no_template(model: Listener) -> None:
    form = form_of(model, prompts("Знай {topic}, {{так}}"))
    await Chain(form).reply(question(form), Deadline.after(5))
    assert model.inputs == [[f"Знай {AWKWARD}, {{так}}", AWKWARD]]


async def test_a_question_keeps_the_prompt_that_it_was_made_with(model: Listener) -> None:
    form = form_of(model, prompts("старый {topic}"))
    before = question(form)
    form.use(prompts("новый"))
    gc.collect()
    for each in (before, question(form)):
        await Chain(form).reply(each, Deadline.after(5))
    assert [system for system, _ in model.inputs] == [f"старый {AWKWARD}", "новый"]


async def test_a_prompt_is_made_ready_once_and_let_go_with_its_last_question(
    model: Listener,
) -> None:
    form = form_of(model, prompts("первый"))
    for n in range(5):
        for _ in range(3):
            await Chain(form).reply(question(form), Deadline.after(5))
        assert len(form._sequences) == 1
        form.use(prompts(f"другой {n}"))
        gc.collect()
        assert len(form._sequences) == 0


def test_a_prompts_options_give_way_to_the_requests_one_by_one(model: Listener) -> None:
    form = form_of(model, prompts("a", OPTIONS))
    assert question(form).options == OPTIONS
    assert question(form).model == "gpt-4o"
    asked = question(form, ModelOptions(model="m", temperature=0.0, seed=0))
    assert asked.options == ModelOptions("m", 0.0, 0.9, 100, 0, ("СТОП",))
    assert asked.model == "m"
    assert question(form, ModelOptions(stop=("x",))).options.stop == ("x",)
