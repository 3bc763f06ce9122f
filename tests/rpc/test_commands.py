"""The commands for operators: `health` and `repair`."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient

from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.ports import free_port
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from tests.rpc.command import PROGRAM, turnkeep_server
from tests.rpc.session import TIMEOUT_SECONDS, Session, message, new_id
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_health_is_0_for_a_server_that_serves(server: ServerProcess) -> None:
    """By option or by TURNKEEP_LISTEN; what a container's HEALTHCHECK runs."""
    for ended in (
        await turnkeep_server("health", "--address", server.address),
        await turnkeep_server("health", env={"TURNKEEP_LISTEN": server.address}),
    ):
        assert (ended.code, ended.stderr) == (0, "")
        assert "SERVING" in ended.stdout


async def test_health_is_1_where_nobody_serves() -> None:
    """Nobody there: exit 1, in words."""
    ended = await turnkeep_server("health", "--address", f"127.0.0.1:{free_port()}")

    assert ended.code == 1
    assert "UNAVAILABLE" in ended.stdout
    assert "Traceback" not in ended.stderr


async def test_no_command_shows_a_secret_of_a_bad_url() -> None:
    """Docker keeps what a health check prints."""
    for command in ("health", "repair"):
        url = "mongo://user:s3cret-w0rd@127.0.0.1/db"
        ended = await turnkeep_server(command, env={"TURNKEEP_HISTORY_URL": url})
        assert ended.code == 2
        assert "TURNKEEP_HISTORY_URL" in ended.stderr
        assert "s3cret" not in ended.stdout + ended.stderr


async def _listed(session: Session) -> Sequence[pb.Session]:
    request = pb.ListSessionsRequest(user_id=session.user_id)
    return (await session.turnkeep.ListSessions(request, timeout=TIMEOUT_SECONDS)).sessions


async def _one_session_of_each_kind(user: Session, model: OpenAIStub) -> None:
    """Plain, failed last, failed only, cleared, and cleared and used again."""
    plain, failed, only_failed, cleared, again = (
        Session(user.turnkeep, user_id=user.user_id) for _ in range(5)
    )
    for each in (plain, failed, cleared, again):
        await each.chat("раз")
        await each.add(message("user", "два"))
    for each in (failed, only_failed):
        model.faults.append(Fault.QUOTA)
        await error_of(each.chat("три"))
    for each in (cleared, again):
        await each.clear()
    await again.chat("снова")


async def test_repair_rebuilds_the_list_of_sessions(
    session: Session, model: OpenAIStub, environment: dict[str, str]
) -> None:
    """The list is derived from the turns: dropped and rebuilt, beside a server, it is the same.

    It needs to know where histories live, and nothing else.
    """
    user = Session(session.turnkeep, user_id=new_id("u"))
    await _one_session_of_each_kind(user, model)
    before = await _listed(user)
    assert len(before) == 4

    url = environment["TURNKEEP_HISTORY_URL"]
    async with AsyncMongoClient[dict[str, object]](url) as client:
        await client.get_default_database().drop_collection("sessions")
    assert not await _listed(user)
    ended = await turnkeep_server("repair", env={"TURNKEEP_HISTORY_URL": url})

    assert ended.code == 0, ended.stderr
    assert ended.stdout.startswith("repaired: ")
    assert await _listed(user) == before


async def test_repair_changes_nothing_that_is_right(
    session: Session, environment: dict[str, str]
) -> None:
    """Run on a list that is whole, it leaves it as it is."""
    user = Session(session.turnkeep, user_id=new_id("u"))
    await user.chat("раз")
    before = await _listed(user)
    ended = await turnkeep_server("repair", env=environment)

    assert ended.code == 0
    assert len(before) == 1
    assert await _listed(user) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["check"],
        ["health", "--address", "{address}"],
        ["repair"],
        ["key", "new", "--tenant", "acme"],
        ["backup", "{file}"],
        ["restore", "{file}"],
    ],
    ids=lambda arguments: arguments[0],
)
async def test_each_command_runs_in_a_python_of_its_own(
    server: ServerProcess, environment: dict[str, str], tmp_path: Path, arguments: list[str]
) -> None:
    """As it is installed, with nothing imported before; those of other tests are forked."""
    file = tmp_path / "файл.archive"
    if arguments[0] == "restore":
        assert (await turnkeep_server("backup", str(file), env=environment)).code == 0
    given = [each.format(address=server.address, file=file) for each in arguments]
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, *given),
        env={**environment, "HOME": str(tmp_path)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    stderr = (await process.communicate())[1].decode()
    assert "Traceback" not in stderr
    assert process.returncode == 0, stderr
