"""Two real servers, with reflection and without, over one mongod and one stub of a model."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.conftest import fresh_database_name
from tests.interop.contract import TourContract
from tests.interop.printed import Printed
from tests.interop.tour import Tour, reply_to, run
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.rpc.session import Session

# Slow enough to see a stream come, and to hang up on it.
DELTA_DELAY_SECONDS = 0.02


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def provider() -> AsyncIterator[OpenAIStub]:
    """The model provider, up for the whole session; tours take `model`."""
    async with OpenAIStub(
        lambda messages: reply_to(messages[-1]["content"]), delta_delay_seconds=DELTA_DELAY_SECONDS
    ) as stub:
        yield stub


@pytest.fixture(scope="class")
def model(provider: OpenAIStub) -> OpenAIStub:
    """The model provider, well and without any calls yet."""
    provider.calls.clear()
    provider.heal()
    return provider


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def servers(
    provider: OpenAIStub, mongod: Mongod
) -> AsyncIterator[Mapping[bool, ServerProcess]]:
    """By whether it answers reflection."""
    settings = {
        "OPENAI_BASE_URL": provider.base_url,
        "OPENAI_API_KEY": "test",
        "TURNKEEP_HISTORY_URL": mongod.url_for(fresh_database_name()),
        # Or calls of the model that no tour asked for would come in between.
        "TURNKEEP_SUMMARY": "off",
    }
    async with AsyncExitStack() as stack:
        yield {
            reflection: await stack.enter_async_context(
                ServerProcess({**settings, "TURNKEEP_REFLECTION": str(int(reflection))})
            )
            for reflection in (True, False)
        }


@pytest_asyncio.fixture(scope="class", loop_scope="session")
async def tour(
    request: pytest.FixtureRequest,
    model: OpenAIStub,
    servers: Mapping[bool, ServerProcess],
    tmp_path_factory: pytest.TempPathFactory,
) -> Tour:
    """The tour of the test's class, run once for all tests of that class."""
    client: TourContract = request.cls()
    server = servers[client.reflection]
    session = Session(server.stub()[1], user_id="")
    argv = [*client.command(), server.address, session.id]
    model.faults.extend(client.faults)
    return await run(argv, client.env, session, model, tmp_path_factory.mktemp("tour") / "output")


@pytest.fixture(scope="class")
def printed(request: pytest.FixtureRequest, tour: Tour) -> Printed:
    """What it printed."""
    client: TourContract = request.cls()
    return client.read(tour.output)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says aloud, once each, which clients were not run and why."""
    skipped = terminalreporter.stats.get("skipped", [])
    for reason in sorted({str(each.longrepr[2]) for each in skipped}):
        terminalreporter.write_line(f"SKIPPED: {reason.removeprefix('Skipped: ')}", red=True)
