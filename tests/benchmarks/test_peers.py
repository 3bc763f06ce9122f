"""What Turnkeep is measured against serves the same RPCs, and does what stock LangChain does."""

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from tests.faults.service import Caller, texts
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.server_process import ServerProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

STOCKS = ("stock_aio", "stock_threads")
SYSTEM = ("system", "You are a helpful assistant.")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncIterator[OpenAIStub]:
    async with OpenAIStub() as stub:
        yield stub


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[*STOCKS, "floor"])
async def caller(
    request: pytest.FixtureRequest, mongod: Mongod, model: OpenAIStub
) -> AsyncIterator[Caller]:
    """A channel to a peer, which has a database of its own."""
    env = {
        "TURNKEEP_HISTORY_URL": mongod.url_for(f"peer_{request.param}"),
        "OPENAI_BASE_URL": model.base_url,
        "OPENAI_API_KEY": "test",
    }
    module = f"benchmarks.peers.{request.param}"
    async with ServerProcess(env, module=module) as peer:
        assert request.param in peer.line
        yield Caller(peer)


async def test_it_remembers_what_was_said_streamed_or_not(
    caller: Caller, model: OpenAIStub
) -> None:
    await caller.chat("помнит", "Привет! 🙂")
    said, completed = await caller.stream("помнит", "还有呢?")
    assert said == completed.message.text == "reply to: 还有呢?"
    await caller.chat("помнит", "وبعد؟")
    assert model.inputs[-1] == [
        SYSTEM,
        ("user", "Привет! 🙂"),
        ("assistant", "reply to: Привет! 🙂"),
        ("user", "还有呢?"),
        ("assistant", "reply to: 还有呢?"),
        ("user", "وبعد؟"),
    ]


async def test_it_tells_its_health(caller: Caller) -> None:
    assert await caller.health() == "SERVING"


@pytest.mark.parametrize("caller", STOCKS, indirect=True)
async def test_stock_lists_adds_and_clears(caller: Caller) -> None:
    await caller.chat("список", "Раз 🙂")
    await caller.add("список", "Два")
    assert texts(await caller.messages("список")) == [
        (1, "Раз 🙂"),
        (1, "reply to: Раз 🙂"),
        (2, "Два"),
    ]
    assert "список" in [each.session_id for each in (await caller.sessions("", 50)).sessions]
    await caller.clear("список")
    assert await caller.messages("список") == []


@pytest.mark.parametrize("caller", STOCKS, indirect=True)
async def test_stock_forgets_a_question_that_the_model_failed_on(
    caller: Caller, model: OpenAIStub
) -> None:
    model.faults.extend([Fault.UNAUTHORIZED])
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await caller.chat("забыл", "Что было?")
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert await caller.messages("забыл") == []
