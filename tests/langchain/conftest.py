"""One real server for the whole session, its model provider, and both clients of it."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
import pytest_asyncio

import turnkeep
import turnkeep.sync
from tests.conftest import fresh_database_name
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def provider() -> AsyncIterator[OpenAIStub]:
    """The model provider, of the service and of LangChain programs; tests take `model`.

    It runs on the session's event loop: what blocks and asks the model runs in a thread.
    """
    async with OpenAIStub() as stub:
        yield stub


@pytest.fixture
def model(provider: OpenAIStub) -> Iterator[OpenAIStub]:
    """The model provider, well and without any calls yet."""
    as_it_was = dict(vars(OpenAIStub()))
    provider.calls.clear()
    yield provider
    for name in ("reply", "delta_delay_seconds"):
        setattr(provider, name, as_it_was[name])
    provider.heal()


@pytest.fixture(scope="session")
def environment(provider: OpenAIStub, mongod: Mongod) -> dict[str, str]:
    """The settings of a server over the real mongod and the stub of a provider."""
    return {
        "OPENAI_BASE_URL": provider.base_url,
        "OPENAI_API_KEY": "test",
        "TURNKEEP_HISTORY_URL": mongod.url_for(fresh_database_name()),
        "TURNKEEP_SUMMARY": "off",
    }


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(environment: dict[str, str]) -> AsyncIterator[ServerProcess]:
    """The server that all tests share."""
    async with ServerProcess(environment) as process:
        yield process


@pytest.fixture(scope="session")
def client(server: ServerProcess) -> Iterator[turnkeep.sync.ConversationClient]:
    """The blocking client."""
    with turnkeep.sync.ConversationClient(server.address) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def async_client(server: ServerProcess) -> AsyncIterator[turnkeep.ConversationClient]:
    """The client that is awaited."""
    async with turnkeep.ConversationClient(server.address) as opened:
        yield opened


@pytest.fixture
def user_id() -> str:
    """A user whom no test had before."""
    return f"victor-{uuid4().hex}"
