"""Logs: one JSON line a call, and never a text or a secret."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import fresh_database_name
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from tests.rpc.session import Session, message, new_id
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

CANARY = "КАНАРЕЙКА"
PRICES = {"input_usd_per_million_tokens": 1e6, "output_usd_per_million_tokens": 1e5}
KEY, OPTION, REPLY = "sk-canary-key", "canary-option", f"{CANARY}-ответ"
SECRETS = (CANARY, ascii(CANARY)[1:-1], "canary")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def talkative(
    environment: dict[str, str], mongod: Mongod, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServerProcess]:
    """A server that logs all it can, with canaries in its settings."""
    file = tmp_path_factory.mktemp("prompts") / "prompts.yaml"
    file.write_text(f"default: {{system: '{CANARY}-промпт {{topic}}'}}")
    settings = {
        "OPENAI_API_KEY": KEY,
        "TURNKEEP_HISTORY_URL": f"{mongod.url_for(fresh_database_name())}&appName={OPTION}",
        "TURNKEEP_PROMPTS_FILE": str(file),
        "TURNKEEP_MODEL_ATTEMPTS": "1",
        "TURNKEEP_LOG_LEVEL": "debug",
        "TURNKEEP_MODEL_FIGURES": json.dumps({"gpt-4o-mini": PRICES}),
    }
    async with ServerProcess({**environment, **settings}) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="session")
async def session(talkative: ServerProcess, model: OpenAIStub) -> Session:
    """A session at that server."""
    return Session(talkative.stub()[1])


async def _line(server: ServerProcess, request_id: str) -> dict[str, Any]:
    """The one line of a call; it may be written a moment after the call's end is seen."""
    async with asyncio.timeout(10):
        while True:
            lines = [json.loads(line) for line in server.log]
            if found := [each for each in lines if each.get("request_id") == request_id]:
                (line,) = found
                return line
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_a_call_is_one_line(
    session: Session, talkative: ServerProcess, streams: bool
) -> None:
    """Method, code, milliseconds, request_id and tokens, as JSON."""
    request_id = new_id("r")
    fields = {"request_id": request_id, "variables": {"topic": "x"}}
    if streams:
        answer = (await session.streamed("Привет", **fields))[-1].completed
    else:
        answer = await session.chat("Привет", **fields)
    line = await _line(talkative, request_id)

    assert (line["method"], line["code"]) == ("StreamChat" if streams else "Chat", "OK")
    assert 0 < line["ms"] < 5000
    cost_usd = answer.usage.input_tokens + answer.usage.output_tokens / 10
    assert line["cost_usd"] == pytest.approx(cost_usd) != 0
    assert line["input_tokens"] == answer.usage.input_tokens > 0
    assert line["output_tokens"] == answer.usage.output_tokens > 0
    assert line["sequence"] == 1
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")


async def test_a_failed_call_is_one_line_with_its_reason(
    session: Session, talkative: ServerProcess, model: OpenAIStub
) -> None:
    """The code and the reason that its caller was given."""
    request_id = new_id("r")
    model.faults.append(Fault.QUOTA)
    await error_of(session.chat("Привет", request_id=request_id, variables={"topic": "x"}))
    line = await _line(talkative, request_id)

    assert (line["code"], line["reason"]) == ("RESOURCE_EXHAUSTED", "MODEL_QUOTA_EXHAUSTED")


async def test_a_cancelled_call_is_one_line(
    session: Session, talkative: ServerProcess, model: OpenAIStub
) -> None:
    """A caller who hung up is CANCELLED in the log."""
    request_id, model.delay_seconds = new_id("r"), 5
    fields = {"request_id": request_id, "variables": {"topic": "x"}}
    call = asyncio.create_task(session.chat("Привет", **fields))
    await model.arrived(1)
    call.cancel()

    assert (await _line(talkative, request_id))["code"] == "CANCELLED"


async def test_no_text_and_no_secret_is_ever_logged(
    session: Session, talkative: ServerProcess, model: OpenAIStub
) -> None:
    """Whatever is said and however it fails: no canary in the log, on stdout or in a status."""
    model.reply = lambda _: REPLY * 5
    fields = {
        "variables": {"topic": CANARY},
        "options": pb.ModelOptions(stop=[CANARY]),
        "message": pb.Message(
            text=CANARY, name=CANARY, metadata={CANARY: CANARY}, role=pb.ROLE_USER
        ),
    }
    await session.chat(**fields)
    await session.streamed(**fields)
    call = pb.ToolCall(id=CANARY, name=CANARY, arguments_json=json.dumps({"q": CANARY}))
    await session.add(
        message("assistant", tool_calls=[call]), message("tool", CANARY, tool_call_id=CANARY)
    )
    errors = [
        await error_of(session.chat(CANARY)),
        await error_of(session.chat(CANARY, prompt=CANARY)),
        await error_of(session.chat(CANARY * 10_000, variables={"topic": CANARY * 1000})),
        await error_of(session.chat(CANARY, options=pb.ModelOptions(model=CANARY))),
        await error_of(session.add(message("user", CANARY), message("tool", CANARY))),
        await error_of(session.page(page_token=CANARY)),
    ]
    whole = {Fault.CONTENT_FILTER_PARTIAL, Fault.LENGTH, Fault.TOOL_CALLS, Fault.SURROGATE}
    for fault in set(Fault) - whole:
        model.faults.extend([fault, fault])
        errors.append(await error_of(session.chat(timeout=0.5, **fields)))
        errors.append(await error_of(session.streamed(timeout=0.5, **fields)))

    written = "\n".join([*talkative.log, talkative.line])
    told = "\n".join(repr(each) for each in errors)
    assert not [each for each in SECRETS if each in written]
    assert not [each for each in (*SECRETS, repr(CANARY.encode())[2:-1]) if each in told]
    assert "Traceback" not in written


async def test_a_server_says_where_it_is_in_one_line(talkative: ServerProcess) -> None:
    """Address, history and model on stdout; no option of the URL, no key."""
    (line,) = talkative.line.splitlines()

    assert talkative.address in line
    assert "mongodb://127.0.0.1:" in line
    assert "gpt-4o-mini" in line
