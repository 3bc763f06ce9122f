"""TURNKEEP_CHAIN: an operator's own Runnable in the place of `prompt | model`."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from tests.rpc.session import Session, joined, kinds, message
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXAMPLES = Path(__file__).parents[2] / "examples"
OWN = """
import time
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda

def echo():
    def answer(given: dict, config: RunnableConfig):
        asked = given.pop("question")
        told = [each.text for each in given.pop("chat_history")]
        if asked == "break":
            raise ZeroDivisionError("canary " + asked)
        if asked == "key":
            return given["canary"]
        if asked == "a number":
            return 42
        if asked == "sleep":
            time.sleep(3)
        kind, text = type(asked).__name__, asked if isinstance(asked, str) else asked.text
        options = {k: v for k, v in sorted(config["configurable"].items())}
        return f"{kind}: {text} | {told} | {given} | {options}"
    return RunnableLambda(answer)

def not_a_chain():
    return "text"

a_value = 1

def bad():
    1 / 0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chains")
    (folder / "own.py").write_text(OWN)
    return folder


@pytest.fixture(scope="module")
def settings(environment: dict[str, str], folder: Path) -> dict[str, str]:
    return {
        **environment,
        "TURNKEEP_HISTORY_URL": "memory://",
        "PYTHONPATH": f"{folder}:{EXAMPLES}",
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def echoing(settings: dict[str, str]) -> AsyncIterator[ServerProcess]:
    """Without a key: the chain needs none."""
    without = {name: value for name, value in settings.items() if name != "OPENAI_API_KEY"}
    async with ServerProcess({**without, "TURNKEEP_CHAIN": "own:echo"}) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="session")
async def session(echoing: ServerProcess) -> Session:
    return Session(echoing.stub()[1])


async def test_a_chain_gets_history_question_and_variables(session: Session) -> None:
    await session.chat("Привет {x}")
    answer = await session.chat(
        "你好", variables={"topic": "математика"}, options=pb.ModelOptions(temperature=0)
    )
    first, second = (each.text for each in (await session.messages())[1::2])
    assert first == "str: Привет {x} | [] | {} | {'model': 'gpt-4o-mini'}"
    told = ["Привет {x}", first]
    options = {"model": "gpt-4o-mini", "temperature": 0.0}
    assert second == f"str: 你好 | {told} | {{'topic': 'математика'}} | {options}"
    assert answer.finish_reason == pb.FINISH_REASON_UNSPECIFIED
    assert answer.context.included_messages == 2


async def test_a_question_with_parts_comes_as_a_message(session: Session) -> None:
    parts = [pb.ContentPart(text="Что это?"), pb.ContentPart(image_url="https://x.test/i.png")]
    answer = await session.chat(message=pb.Message(parts=parts))
    assert answer.message.text.startswith("HumanMessage: Что это? | []")


async def test_it_streams_too(session: Session) -> None:
    events = await session.streamed("Привет")
    assert kinds(events)[0] == "started"
    assert kinds(events)[-1] == "completed"
    assert joined(events) == events[-1].completed.message.text != ""


@pytest.mark.parametrize("bug", ["break", "key", "a number"])
@pytest.mark.parametrize("rpc", ["chat", "streamed"])
async def test_a_chain_that_fails_is_run_once_and_tells_no_more_than_an_error_id(
    session: Session, echoing: ServerProcess, rpc: str, bug: str
) -> None:
    error = await error_of(getattr(session, rpc)(bug, request_id="r-1"))
    assert error.what == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "canary" not in str(error)
    assert any(error.metadata["error_id"] in line for line in echoing.log)
    assert not any("canary" in line for line in echoing.log)
    (kept,) = await session.everything()
    assert (kept.text, kept.status) == (bug, pb.TURN_STATUS_FAILED)


async def test_a_chain_that_blocks_its_threads_keeps_nobody_else_waiting(session: Session) -> None:
    slow = [asyncio.create_task(error_of(session.chat("sleep", timeout=3.0)))]
    others = Session(session.turnkeep)
    slow += [
        asyncio.create_task(error_of(Session(session.turnkeep).chat("sleep", timeout=3.0)))
        for _ in range(11)
    ]
    await asyncio.sleep(0.1)
    await others.add(message("user", "раз"), message("assistant", "два"), timeout=2.5)
    assert (await others.chat("три", timeout=2.5)).sequence == 2
    for each in await asyncio.gather(*slow):
        assert each.what == (grpc.StatusCode.DEADLINE_EXCEEDED, "MODEL_TIMEOUT")


async def test_it_has_no_other_prompts(session: Session) -> None:
    error = await error_of(session.chat("?", prompt="expert"))
    assert error.what == (grpc.StatusCode.INVALID_ARGUMENT, "UNKNOWN_PROMPT")


async def test_a_preview_shows_what_the_chain_is_given(session: Session) -> None:
    await session.chat("раз")
    preview = await session.preview("два")
    assert [each.role for each in preview.messages] == [
        pb.ROLE_USER,
        pb.ROLE_ASSISTANT,
        pb.ROLE_USER,
    ]


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        ("nowhere:build", "no module 'nowhere'"),
        ("own:missing", "has no function 'missing'"),
        ("own:not_a_chain", "must return a LangChain Runnable"),
        ("own:a_value", "has no function 'a_value'"),
        ("own:bad", "raised ZeroDivisionError at"),
        ("json:dumps", "raised TypeError at"),
        ("own", "TURNKEEP_CHAIN"),
    ],
)
async def test_a_chain_that_cannot_be_is_refused_at_the_start(
    settings: dict[str, str], chain: str, said: str
) -> None:
    server = ServerProcess({**settings, "TURNKEEP_CHAIN": chain})
    with pytest.raises(RuntimeError, match="exited with 2"):
        async with server:
            pass
    assert said in "\n".join(server.log)


async def test_the_example_answers_from_the_documents_it_looks_up(
    settings: dict[str, str], model: OpenAIStub
) -> None:
    """examples/retrieval.py, whole and streamed, through a failure of its model."""
    async with ServerProcess({**settings, "TURNKEEP_CHAIN": "retrieval:build"}) as server:
        session = Session(server.stub()[1])
        model.reply = lambda messages: "Два дня."
        model.faults.append(Fault.SERVER_ERROR)
        first = await session.chat("Сколько идёт доставка по Казани?")
        events = await session.streamed("А营业时间?")

    assert first.message.text == "Два дня."
    assert first.usage.input_tokens > 0
    assert first.finish_reason == pb.FINISH_REASON_STOP
    assert joined(events) == "Два дня."
    assert len(kinds(events)) > 3
    (_, asked, after) = model.inputs
    assert "Доставка по Казани" in asked[0][1]
    assert "营业时间" not in asked[0][1]
    assert [role for role, _ in after] == ["system", "user", "assistant", "user"]
    assert "营业时间" in after[0][1]
