"""What every test may share: one real mongod a session, a database of its own for each test."""

import itertools
import os
import uuid
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.torture.launcher import Launcher
from tests.faults.torture.zygote import Job
from tests.kit.canary import WatchedStatuses
from tests.kit.child import Process
from tests.kit.mongod import Mongod
from tests.kit.server_process import forked_by

_numbers = itertools.count(1)
_run = uuid.uuid4().hex[:8]


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Half as many again as there are cores: many a test waits, for a process or a lease."""
    cores = yield
    return cores if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else (3 * cores + 1) // 2


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full",
        action="store_true",
        help="fault tests in full size, as `make test-full` runs them",
    )


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether a test that has two sizes runs in the large one."""
    return bool(request.config.getoption("--full"))


@pytest.fixture(scope="session", autouse=True)
def _servers_are_forked() -> Iterator[None]:
    """Off a process that has imported what they need: half of what the tests computed was that.

    One whose interpreter matters is started plainly: `tests.kit.server_process` tells them apart.
    """
    with ExitStack() as stack:
        launcher = cache(lambda: stack.enter_context(Launcher()))

        def fork(
            env: Mapping[str, str], stdout: Path, stderr: Path, arguments: tuple[str, ...]
        ) -> Process:
            stderr.touch()
            job = Job(dict(env), str(stdout), str(stderr), arguments=arguments)
            return launcher().started(job)

        with forked_by(fork):
            yield


@pytest.fixture(scope="session")
def statuses() -> Iterator[WatchedStatuses]:
    """Looks for planted secrets in every error that a caller of these tests meets."""
    with WatchedStatuses() as watched:
        yield watched


@pytest.fixture(autouse=True)
def _no_secret_in_a_status(statuses: WatchedStatuses) -> Iterator[None]:
    statuses.found.clear()
    yield
    assert not statuses.found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mongod(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mongod]:
    """A real mongod, the primary of a replica set of one, for the whole session.

    It is bound to no event loop: use it from tests on any. Whoever kills it starts it again.
    """
    async with Mongod(tmp_path_factory.mktemp("mongod")) as server:
        yield server


def fresh_database_name() -> str:
    """A database name that nobody used before: dropping one would cost 100 ms."""
    return f"turnkeep_{_run}_{next(_numbers)}"


@pytest.fixture
def database_url(mongod: Mongod) -> str:
    """The MongoDB URI of a database that is this test's own."""
    return mongod.url_for(fresh_database_name())
