"""The operator's prompts, their variables and options, and which models a request may name."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc
import pytest
import pytest_asyncio

from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from tests.rpc.session import SYSTEM, Session
from turnkeep.v1 import conversation_pb2 as pb

if TYPE_CHECKING:
    from turnkeep.v1.conversation_pb2_grpc import ConversationServiceAsyncStub as Stub

pytestmark = pytest.mark.asyncio(loop_scope="session")

INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
TUTOR = "Ты полезный ассистент, отлично разбирающийся в {topic}. Скобки: {{x}}"
PROMPTS = f"""\
default:
  system: |-
    {TUTOR}
  variables: {{topic:}}
poet:
  system: Пиши {{lines}} строки о {{什么}}.
  variables:
    lines: 2
    什么:
  options:
    model: o4-mini
    temperature: 1.5
    top_p: 0.25
    max_output_tokens: 40
    seed: 7
    stop: ["КОНЕЦ"]
"""
TOPIC = {"topic": "математика"}
BRACES = "{topic} {0} {{x}}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tutor(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServerProcess]:
    """A server with a file of prompts."""
    file = tmp_path_factory.mktemp("prompts") / "промпты.yaml"
    file.write_text(PROMPTS)
    settings = {"TURNKEEP_PROMPTS_FILE": str(file), "TURNKEEP_HISTORY_URL": "memory://"}
    async with ServerProcess({**environment, **settings}) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="session")
async def session(tutor: ServerProcess, model: OpenAIStub) -> Session:
    """A session at that server."""
    return Session(tutor.stub()[1])


async def _body(session: Session, model: OpenAIStub, streams: bool, **fields: object) -> dict:
    call = session.streamed if streams else session.chat
    await call("привет", prompt="poet", variables={"什么": "雨"}, **fields)
    return model.calls[-1].body


def _options(body: dict) -> tuple[object, ...]:
    most = body.get("max_completion_tokens", body.get("max_tokens"))
    told = (body.get(name) for name in ("model", "temperature", "top_p", "seed", "stop"))
    return (*told, most)


async def test_a_dialog_about_a_topic(turnkeep: "Stub", model: OpenAIStub) -> None:
    """The source document's second example, on a server without a file: the topic in the prompt
    that comes along, the history between it and the question, so that the second question can be
    understood."""
    session = Session(turnkeep)
    answers = {
        "Чему равен синус 30?": r"Синус 30 градусов равен \( \frac{1}{2} \) или 0.5.",
        "А чему равен косинус?": r"Косинус 30 градусов равен \( \frac{\sqrt{3}}{2} \).",
    }
    model.reply = lambda messages: answers[messages[-1]["content"]]
    told = [await session.chat(each, prompt="expert", variables=TOPIC) for each in answers]

    assert [each.message.text for each in told] == list(answers.values())
    first, second = answers
    system = ("system", "You are a helpful assistant who knows математика well.")
    assert model.inputs == [
        [system, ("user", first)],
        [system, ("user", first), ("assistant", answers[first]), ("user", second)],
    ]


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_braces_in_what_is_said_are_braces(
    turnkeep: "Stub", model: OpenAIStub, streams: bool
) -> None:
    """Of the question, the history and the variables, under a prompt with variables and without."""
    session = Session(turnkeep)
    call = session.streamed if streams else session.chat
    model.reply = lambda _: BRACES
    await call(BRACES)
    await call(BRACES, prompt="expert", variables={"topic": BRACES})

    assert model.inputs == [
        [SYSTEM, ("user", BRACES)],
        [
            ("system", f"You are a helpful assistant who knows {BRACES} well."),
            ("user", BRACES),
            ("assistant", BRACES),
            ("user", BRACES),
        ],
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
        ("system", TUTOR.format(topic="{x} {{y}} {question} $z")),
        ("user", "?"),
    ]


async def test_a_variable_that_is_not_given_has_its_default(
    session: Session, model: OpenAIStub
) -> None:
    """And one that is given has what it was given."""
    await session.chat("?", prompt="poet", variables={"什么": "雨"})
    await session.chat("?", prompt="poet", variables={"什么": "雨", "lines": "🌧"})

    systems = [each[0][1] for each in model.inputs]
    assert systems == ["Пиши 2 строки о 雨.", "Пиши 🌧 строки о 雨."]


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_a_prompts_options_reach_the_model(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """All of them, and with the next prompt none of them."""
    body = await _body(session, model, streams)
    assert _options(body) == ("o4-mini", 1.5, 0.25, 7, ["КОНЕЦ"], 40)

    answer = await session.chat("привет", variables=TOPIC)
    assert answer.model == "gpt-4o-mini"
    assert _options(model.calls[-1].body) == ("gpt-4o-mini", None, None, None, None, None)


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_a_requests_options_go_before_its_prompts(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """One by one: what the request does not set is the prompt's."""
    some = pb.ModelOptions(model="gpt-4o", temperature=0, seed=0)
    body = await _body(session, model, streams, options=some)
    assert _options(body) == ("gpt-4o", 0, 0.25, 0, ["КОНЕЦ"], 40)

    others = pb.ModelOptions(top_p=1, max_output_tokens=5, stop=["\n", "。"])
    body = await _body(session, model, streams, options=others)
    assert _options(body) == ("o4-mini", 1.5, 1, 7, ["\n", "。"], 5)


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_an_unknown_prompt_is_told_the_choices(session: Session, streams: bool) -> None:
    """UNKNOWN_PROMPT names the prompts there are."""
    call = session.streamed if streams else session.chat
    error = await error_of(call("?", prompt="tutor", variables=TOPIC))

    assert error.what == (INVALID_ARGUMENT, "UNKNOWN_PROMPT")
    assert error.metadata == {"known_prompts": "default, poet"}


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
