"""Backup and restore by the commands of docs/operations.md, as they stand there."""

import asyncio
import gzip
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import bson
import pytest
from pymongo import AsyncMongoClient

from tests.conftest import fresh_database_name
from tests.docs.snippets import snippets
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from tests.rpc.command import PROGRAM, Ended, turnkeep_server
from tests.rpc.session import TIMEOUT_SECONDS, Session, message
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")
USERS, SESSIONS_A_USER, ADDED = 4, 5, 120
TEXTS = (
    "Привет! Меня зовут Виктор",
    "你好，我住在上海",
    "مرحبا 👋 كيف حالك؟",
    "a\u0000b \U0001f469\u200d\U0001f680",
)
Stored = dict[tuple[str, str], list[pb.Message]]


async def test_what_is_restored_by_the_documented_commands_is_what_was_backed_up(
    environment: dict[str, str], model: OpenAIStub, mongod: Mongod, tmp_path: Path
) -> None:
    """Every message of every session, and the list of sessions; then conversations go on."""
    environment = {**environment, "TURNKEEP_HISTORY_URL": mongod.url_for(fresh_database_name())}
    elsewhere = {**environment, "TURNKEEP_HISTORY_URL": mongod.url_for(fresh_database_name())}
    async with ServerProcess(environment) as server:
        await fill(server, model)
        before, listed = await everything(server)
        # Beside a server that goes on: what comes later is not in the backup.
        backed_up, restored = await documented(environment, elsewhere, tmp_path)
        assert (backed_up.code, restored.code) == (0, 0), backed_up.stderr + restored.stderr
    async with ServerProcess(elsewhere) as server:
        assert await everything(server) == (before, listed)
        visible = sum(map(len, before.values()))
        assert visible >= USERS * SESSIONS_A_USER * (ADDED + 2) - ADDED - 2
        # One question to a model that failed is kept, and not listed; the tombstone has none.
        assert f"{visible + 1} messages" in backed_up.stderr
        assert f"{visible + 1} messages; {len(before)} sessions" in restored.stdout
        (user, session_id), messages = next(iter(before.items()))
        reply = await Session(server.stub()[1], session_id, user).chat("И дальше?")
        assert reply.sequence == messages[-1].sequence + 1


async def test_a_restore_that_was_cut_short_is_run_again_and_says_what_was_there(
    environment: dict[str, str], session: Session, mongod: Mongod, tmp_path: Path
) -> None:
    for text in TEXTS:
        await session.chat(text)
    file, half = tmp_path / "turns.bson.gz", tmp_path / "half.bson.gz"
    ended = await turnkeep_server("backup", str(file), env=environment)
    assert ended.code == 0, ended.stderr
    assert file.stat().st_mode & 0o077 == 0, "the file is for its owner alone"
    half.write_bytes(file.read_bytes()[:-20])
    elsewhere = {**environment, "TURNKEEP_HISTORY_URL": mongod.url_for(fresh_database_name())}

    cut = await turnkeep_server("restore", str(half), env=elsewhere)
    assert cut.code == 1
    assert "cut short" in cut.stderr
    whole = await turnkeep_server("restore", str(file), env=elsewhere)
    assert whole.code == 0, whole.stderr
    again = await turnkeep_server("restore", str(file), env=elsewhere)
    assert again.code == 0
    turns = [*bson.decode_all(gzip.decompress(file.read_bytes()))]
    assert f"restored: {len(turns)} turns" in again.stdout
    assert f"{len(turns)} turns were there" in again.stdout


async def test_a_backup_is_never_mixed_with_other_turns_in_silence(
    environment: dict[str, str], session: Session, mongod: Mongod, tmp_path: Path
) -> None:
    """Another turn holds the place: it stays, and the restore says so and fails."""
    await session.chat("Привет")
    file, url = tmp_path / "turns.bson", mongod.url_for(fresh_database_name())
    async with AsyncMongoClient[dict[str, object]](environment["TURNKEEP_HISTORY_URL"]) as client:
        turns = client.get_default_database()["turns"]
        turn = await turns.find_one({"session_id": session.id})
    assert turn is not None
    # Plain, as mongodump writes it without --gzip.
    file.write_bytes(bson.encode(turn) + bson.encode({**turn, "_id": bson.ObjectId()}))
    ended = await turnkeep_server("restore", str(file), env={"TURNKEEP_HISTORY_URL": url})
    assert ended.code == 1
    assert "restored: 2 turns" in ended.stdout
    assert "1 turns were left out" in ended.stderr


async def test_a_backup_that_cannot_be_made_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "turns.bson.gz"
    file.write_bytes(b"yesterday's")
    ended = await turnkeep_server("backup", str(file), env={"TURNKEEP_HISTORY_URL": "memory://"})
    assert ended.code == 2
    assert "TURNKEEP_HISTORY_URL" in ended.stderr
    assert file.read_bytes() == b"yesterday's"
    assert [*tmp_path.iterdir()] == [file]


async def test_the_files_of_a_locked_mongod_are_a_backup(
    environment: dict[str, str], model: OpenAIStub, tmp_path: Path, full: bool
) -> None:
    """Copied beside a server that writes, under fsyncLock, and made a replica set of its own."""
    if not full:
        pytest.skip("three mongods: with --full, as `make test-full` runs it")
    async with Mongod(tmp_path / "data") as mongod:
        url = {**environment, "TURNKEEP_HISTORY_URL": mongod.url_for("turnkeep")}
        async with ServerProcess(url) as server:
            await fill(server, model)
            before = await everything(server)
            async with AsyncMongoClient[dict[str, object]](mongod.url) as client:
                await client.admin.command("fsync", lock=True)
                await run(["cp", "-a", str(tmp_path / "data"), str(tmp_path / "copy")])
                await client.admin.command("fsyncUnlock")
    (tmp_path / "copy" / "mongod.lock").write_text("")
    # A member alone; without `local` it knows no more of the set that it was in.
    async with (
        Mongod(tmp_path / "copy", replica_set=None) as alone,
        AsyncMongoClient[dict[str, object]](alone.url) as client,
    ):
        await client.drop_database("local")
    async with Mongod(tmp_path / "copy") as mongod:
        url = {**environment, "TURNKEEP_HISTORY_URL": mongod.url_for("turnkeep")}
        async with ServerProcess(url) as server:
            assert await everything(server) == before


async def fill(server: ServerProcess, model: OpenAIStub) -> None:
    """Sessions of every kind: answered, added to, cleared and used again, failed."""
    stub = server.stub()[1]
    for user in range(USERS):
        for number in range(SESSIONS_A_USER):
            session = Session(stub, f"s-{number}", f"u-{user}")
            await session.chat(TEXTS[number % len(TEXTS)])
            await session.add(
                *(message("user", f"{each} {TEXTS[each % len(TEXTS)]}") for each in range(ADDED))
            )
    await session.clear()
    await session.chat("снова")
    model.faults.append(Fault.QUOTA)
    await error_of(session.chat("не вышло"))


async def everything(server: ServerProcess) -> tuple[Stored, list[pb.Session]]:
    """All messages of all sessions, page by page, and the sessions as they are listed."""
    stub = server.stub()[1]
    stored: Stored = {}
    listed: list[pb.Session] = []
    for user in (f"u-{each}" for each in range(USERS)):
        answer = await stub.ListSessions(
            pb.ListSessionsRequest(user_id=user), timeout=TIMEOUT_SECONDS
        )
        listed += answer.sessions
        for each in answer.sessions:
            stored[user, each.session_id] = [
                one async for one in _messages(server, user, each.session_id)
            ]
    return stored, listed


async def _messages(server: ServerProcess, user: str, session_id: str) -> AsyncIterator[pb.Message]:
    request = pb.ListMessagesRequest(session_id=session_id, user_id=user)
    while True:
        page = await server.stub()[1].ListMessages(request, timeout=TIMEOUT_SECONDS)
        for each in page.messages:
            yield each
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def documented(
    source: dict[str, str], target: dict[str, str], folder: Path
) -> tuple[Ended, Ended]:
    """Runs the two commands of the page's section, one on each history."""
    commands = [
        code for _, code in snippets("docs/operations.md", "sh") if "turnkeep-server backup" in code
    ]
    backup, restore = (line for line in commands[0].splitlines() if line.startswith("turnkeep-"))
    return (
        await run(["bash", "-ceu", backup], env=source, folder=folder),
        await run(["bash", "-ceu", restore], env=target, folder=folder),
    )


async def run(
    command: Iterable[str], env: dict[str, str] | None = None, folder: Path | None = None
) -> Ended:
    path = f"{PROGRAM.parent}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"PATH": path, **(env or {})},
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, stdout.decode(), stderr.decode())
