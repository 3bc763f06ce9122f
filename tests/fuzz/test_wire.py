"""Random bodies on every RPC of a real server: each answer is OK or says what is wrong, safely."""

from pathlib import Path

import pytest

from tests.faults.torture.launcher import Launcher
from tests.fuzz import engine, wire
from tests.fuzz.served import Aftermath, aftermath, environment, fuzz_server
from tests.kit.canary import SecretLeaked, WatchedStatuses

SEED = 20_261_126
CALLS, CALLERS = 900, 24


async def test_no_body_makes_the_server_fail(database_url: str, tmp_path: Path) -> None:
    """The corpus, then a few hundred requests that nobody would send."""
    kept = [
        wire.Request.of_kept(path.read_bytes()) for path in sorted(engine.CORPUS.glob("wire/*"))
    ]
    async with fuzz_server(database_url, tmp_path) as server:
        answers = await wire.sent(server.address, [*kept, *wire.requests_of(CALLS, SEED)], CALLERS)
        after = await aftermath(server, answers)

    assert answers.calls == CALLS + len(kept)
    assert after.wrong == ()
    assert after.sessions > 10
    assert {each.name for each in wire.SERVICE.methods} <= answers.by_method.keys()
    assert answers.statuses["OK"] > CALLS / 10
    assert answers.statuses["INVALID_ARGUMENT"] > CALLS / 10


async def test_a_converter_that_fails_is_found(database_url: str, tmp_path: Path) -> None:
    after = await _of_mutant("name-taken-for-granted", database_url, tmp_path)
    assert any("INTERNAL" in each for each in after.wrong)
    assert any("a log line tells an error" in each for each in after.wrong)


async def test_a_value_that_is_quoted_is_found(
    database_url: str, tmp_path: Path, statuses: WatchedStatuses
) -> None:
    """In the status that names the bad field, and in the log, which tells what it said."""
    with pytest.raises(SecretLeaked, match="its log"):
        await _of_mutant("value-quoted", database_url, tmp_path)
    assert statuses.found
    statuses.found.clear()


async def _of_mutant(mutant: str, database_url: str, folder: Path) -> Aftermath:
    with Launcher() as launcher:
        env = environment(database_url, folder)
        async with launcher.server(env, mutant=mutant) as server:
            answers = await wire.sent(server.address, wire.requests_of(CALLS, SEED), CALLERS)
            return await aftermath(server, answers)
