"""The operator's prompt, its variables, and which models a request may name."""

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from tests.rpc.session import Session
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
SYSTEM = "Ты полезный ассистент, отлично разбирающийся в {topic}. Скобки: {{x}}"
TOPIC = {"topic": "математика"}
SYSTEM_FILLED = ("system", "Ты полезный ассистент, отлично разбирающийся в математика. Скобки: {x}")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tutor(environment: dict[str, str]) -> AsyncIterator[ServerProcess]:
    """A server whose prompt has a variable."""
    settings = {"TURNKEEP_SYSTEM_PROMPT": SYSTEM, "TURNKEEP_HISTORY_URL": "memory://"}
    async with ServerProcess({**environment, **settings}) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="session")
async def session(tutor: ServerProcess, model: OpenAIStub) -> Session:
    """A session at that server."""
    return Session(tutor.stub()[1])


async def test_a_dialog_about_a_topic(session: Session, model: OpenAIStub) -> None:
    """The source document's second example: the topic in the prompt, the history between it and
    the question, so that the second question can be understood."""
    answers = {
        "Чему равен синус 30?": r"Синус 30 градусов равен \( \frac{1}{2} \) или 0.5.",
        "А чему равен косинус?": r"Косинус 30 градусов равен \( \frac{\sqrt{3}}{2} \).",
    }
    model.reply = lambda messages: answers[messages[-1]["content"]]
    told = [await session.chat(question, variables=TOPIC) for question in answers]

    assert [each.message.text for each in told] == list(answers.values())
    first, second = answers
    assert model.inputs[1] == [
        SYSTEM_FILLED,
        ("user", first),
        ("assistant", answers[first]),
        ("user", second),
    ]


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_a_missing_variable_is_named(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """MISSING_VARIABLE says which; nothing is stored."""
    call = session.streamed if streams else session.chat
    error = await error_of(call("Чему равен синус 30?", variables={"Topic": "x"}))

    assert error.what == (INVALID_ARGUMENT, "MISSING_VARIABLE")
    assert error.metadata == {"missing_variables": "topic"}
    assert await session.everything() == []
    assert not model.calls


async def test_a_variables_value_is_text(session: Session, model: OpenAIStub) -> None:
    """Braces in a value, and variables that the prompt has not, change nothing else."""
    await session.chat("?", variables={"topic": "{x} {{y}} {question} $z", "other": "да"})

    assert model.inputs[0] == [
        ("system", SYSTEM.format(topic="{x} {{y}} {question} $z")),
        ("user", "?"),
    ]


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_an_unknown_prompt_is_told_the_choices(session: Session, streams: bool) -> None:
    """UNKNOWN_PROMPT names the prompts there are."""
    call = session.streamed if streams else session.chat
    error = await error_of(call("?", prompt="tutor", variables=TOPIC))

    assert error.what == (INVALID_ARGUMENT, "UNKNOWN_PROMPT")
    assert error.metadata == {"known_prompts": "default"}


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_a_model_that_is_not_allowed_is_told_the_choices(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """MODEL_NOT_ALLOWED names the models there are; nothing is stored."""
    call = session.streamed if streams else session.chat
    options = pb.ModelOptions(model="gpt-9")
    error = await error_of(call("?", variables=TOPIC, options=options))

    assert error.what == (INVALID_ARGUMENT, "MODEL_NOT_ALLOWED")
    assert error.metadata == {"allowed_models": "gpt-4o, gpt-4o-mini, o4-mini"}
    assert await session.everything() == []
    assert not model.calls


@pytest.mark.parametrize("name", ["question", "chat_history"])
async def test_the_chains_own_inputs_are_no_variables(session: Session, name: str) -> None:
    """A variable cannot put itself in the place of the question or the history."""
    error = await error_of(session.chat("?", variables={**TOPIC, name: "x"}))

    assert error.what == (INVALID_ARGUMENT, "INVALID_REQUEST")
    assert list(error.bad_fields) == [f"variables[{name}]"]
