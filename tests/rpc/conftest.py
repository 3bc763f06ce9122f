"""One real server for the whole session, and a real model provider that is a stub."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.conftest import fresh_database_name
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.rpc.session import Session

if TYPE_CHECKING:
    from turnkeep.v1.conversation_pb2_grpc import ConversationServiceAsyncStub as Stub


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def provider() -> AsyncIterator[OpenAIStub]:
    """The model provider, up for the whole session; tests take `model`."""
    async with OpenAIStub() as stub:
        yield stub


@pytest_asyncio.fixture(loop_scope="session")
async def model(provider: OpenAIStub) -> AsyncIterator[OpenAIStub]:
    """The model provider, well and without any calls yet."""
    as_it_was = dict(vars(OpenAIStub()))
    healthy = (
        "reply",
        "delay_seconds",
        "delta_delay_seconds",
        "deltas",
        "retry_after",
        "gate",
        "count_tokens",
    )
    provider.calls.clear()
    yield provider
    provider.heal()
    for name in healthy:
        setattr(provider, name, as_it_was[name])


@pytest.fixture(scope="session")
def environment(provider: OpenAIStub, mongod: Mongod) -> dict[str, str]:
    """The settings of a server over the real mongod and the stub of a provider."""
    return {
        "OPENAI_BASE_URL": provider.base_url,
        "OPENAI_API_KEY": "test",
        "TURNKEEP_HISTORY_URL": mongod.url_for(fresh_database_name()),
        "TURNKEEP_ALLOWED_MODELS": "gpt-4o, o4-mini",
        "TURNKEEP_LOG_FORMAT": "json",
        # Or calls of the model that no test asked for would come in between.
        "TURNKEEP_SUMMARY": "off",
    }


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(environment: dict[str, str]) -> AsyncIterator[ServerProcess]:
    """The server that all tests share that need no settings of their own."""
    async with ServerProcess(environment) as process:
        yield process


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def turnkeep(server: ServerProcess) -> "Stub":
    """The stub of the shared server."""
    return server.stub()[1]


@pytest.fixture
def session(turnkeep: "Stub", model: OpenAIStub) -> Session:
    """A session that nobody used before, with a model that is well."""
    return Session(turnkeep)
