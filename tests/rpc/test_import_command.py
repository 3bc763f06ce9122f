"""`turnkeep-server import-langchain`: its exit codes, its report, and what it never shows."""

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pexpect
import pytest
from pymongo import AsyncMongoClient

from tests.kit.langchain_histories import exchange, write_file, write_mongodb
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.ports import free_port
from tests.kit.server_process import ServerProcess
from tests.rpc.command import PROGRAM, Ended, turnkeep_server
from tests.rpc.session import Session, new_id, texts

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNREADABLE = '[{"type": "function", "data": {"content": "секрет", "name": "f"}}]'


async def import_langchain(
    source: object, *options: str, to: str = "memory://", **env: str
) -> Ended:
    """The command, run to its end."""
    arguments = ("import-langchain", "--from", str(source), *options)
    return await turnkeep_server(*arguments, env={"TURNKEEP_HISTORY_URL": to, **env})


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A folder of two sessions' files, eight messages in all."""
    folder = tmp_path / "история"
    folder.mkdir()
    for n in range(2):
        write_file(folder / f"{new_id('s')}.json", exchange(n))
    return folder


async def test_what_was_imported_is_a_conversation_that_goes_on(
    session: Session, model: OpenAIStub, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """Beside a running server: listed, read, and sent to the model."""
    write_file(tmp_path / f"{session.id}.json", exchange(7))
    ended = await import_langchain(
        tmp_path, "--user-id", session.user_id, to=environment["TURNKEEP_HISTORY_URL"]
    )
    assert (ended.code, ended.stderr) == (0, "")
    assert "         4  messages imported\n" in ended.stdout
    assert "everything that the source holds is there" in ended.stdout

    asked, _, result, answered = exchange(7)
    said = [("user", asked.text), ("assistant", ""), ("tool", result.text)]
    said.append(("assistant", answered.text))
    assert texts(await session.everything()) == said
    await session.chat("А завтра?")
    assert model.inputs[-1][1:] == [*said, ("user", "А завтра?")]


async def test_a_dry_run_writes_nothing_and_needs_no_store(
    history: Path, database_url: str
) -> None:
    """It does not even open the store, which would make its indexes."""
    ended = await import_langchain(history, "--dry-run", to=database_url)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.startswith("a dry run: nothing was written")
    assert "         2  turns imported\n" in ended.stdout
    async with AsyncMongoClient[dict[str, Any]](database_url) as client:
        assert await client.get_default_database().list_collection_names() == []
    unreachable = f"mongodb://127.0.0.1:{free_port()}/x"
    assert (await import_langchain(history, "--dry-run", to=unreachable)).code == 0


async def test_the_report_is_json_on_demand_and_a_problem_is_exit_code_1(history: Path) -> None:
    """stdout holds the object alone; each problem is told on stderr too, without its text."""
    (history / "x.json").write_text(UNREADABLE)
    ended = await import_langchain(history, "--json")
    assert ended.code == 1
    report = json.loads(ended.stdout)
    (problem,) = report.pop("problems")
    assert report.pop("source_name") == f"files {history}"
    assert report == {
        "dry_run": False,
        "complete": False,
        "sessions": 3,
        "turns": 2,
        "imported": 8,
        "already_there": 0,
        "unreadable": 1,
        "left": 0,
        "problem_count": 1,
        "stopped": "",
    }
    assert (problem["session_id"], problem["index"]) == ("x", 0)
    assert "'function'" in problem["reason"]
    assert ended.stderr == f"not imported: session 'x', message 0: {problem['reason']}\n"
    assert "секрет" not in ended.stdout + ended.stderr


async def test_bad_options_are_exit_code_2_in_words(history: Path) -> None:
    """Nothing is opened for the sake of a mistake."""
    for ended, words in (
        (await turnkeep_server("import-langchain"), "--from"),
        (await import_langchain(history / "none"), "there is no file or folder"),
        (await import_langchain(history, "--user-id", "a b"), "--user-id must be printable"),
        (await import_langchain(history, "--tenant", ""), "--tenant must be"),
        (await import_langchain(history, to="redis://x"), "TURNKEEP_HISTORY_URL"),
    ):
        assert ended.code == 2
        assert words in ended.stderr
        assert "Traceback" not in ended.stderr


async def test_no_secret_of_the_source_is_shown(mongod: Mongod, history: Path) -> None:
    """Whether the URL is right, wrong, malformed, or leads nowhere; from the environment too."""
    there = mongod.url.replace("mongodb://", "mongodb://victor:s3cret-w0rd@")
    nowhere = f"mongodb://victor:s3cret-w0rd@127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=10"
    for url, code in (
        (there, 1),
        (nowhere, 1),
        (there.replace("mongodb:", "mongo:"), 2),
        (there.replace("@", "@@"), 2),
    ):
        ended = await import_langchain(url)
        assert ended.code == code, ended.stderr
        assert ended.stderr.startswith("turnkeep-server: ")
        assert "s3cret" not in ended.stdout + ended.stderr
    ended = await turnkeep_server(
        "import-langchain",
        env={"TURNKEEP_HISTORY_URL": "memory://", "LANGCHAIN_HISTORY_URL": there},
    )
    assert (ended.code, "user or password" in ended.stderr) == (1, True)
    assert "s3cret" not in ended.stdout + ended.stderr


async def test_a_local_store_that_a_server_uses_is_refused(
    history: Path, tmp_path: Path, model: OpenAIStub
) -> None:
    """Its mongod is that server's own: stop it, or import into a MongoDB that both reach."""
    local = f"local://{tmp_path}/data"
    env = {"TURNKEEP_HISTORY_URL": local, "TURNKEEP_MODEL": "parrot"}
    async with ServerProcess(env):
        ended = await import_langchain(history, to=local)
    assert ended.code == 1
    assert "another server uses" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_source_that_goes_away_ends_the_import_and_a_new_run_goes_on(
    tmp_path: Path, database_url: str
) -> None:
    """What was read until then is there; the report says why it ended."""
    said = {f"s{n}": [m for k in range(150) for m in exchange(k)] for n in range(6)}
    async with Mongod(tmp_path / "source") as source:
        await asyncio.to_thread(write_mongodb, source.url, said, "chat_history")
        url = f"{source.url}&serverSelectionTimeoutMS=300"
        importing = asyncio.create_task(import_langchain(url, "--json", to=database_url))
        async with AsyncMongoClient[dict[str, Any]](database_url) as client:
            while not await client.get_default_database()["turns"].estimated_document_count():
                await asyncio.sleep(0.005)
        source.kill()
        ended = await importing
        assert ended.code == 1
        report = json.loads(ended.stdout)
        assert "the source stopped answering" in report["stopped"]
        assert 0 < report["imported"] < 3_600
        assert ended.stderr == ""
        await source.start()
        ended = await import_langchain(url, "--json", to=database_url)
    report = json.loads(ended.stdout)
    assert report["complete"]
    assert report["imported"] + report["already_there"] == 3_600


async def test_a_terminal_sees_how_far_it_is(history: Path) -> None:
    """A bar on a terminal only: the other tests' stderr holds none."""
    env = {**os.environ, "TURNKEEP_HISTORY_URL": "memory://"}
    arguments = ["import-langchain", "--from", str(history)]

    def watched() -> str:
        terminal = pexpect.spawn(str(PROGRAM), arguments, env=env, encoding="utf-8", timeout=20)
        terminal.expect(pexpect.EOF)
        terminal.close()
        assert terminal.exitstatus == 0
        return str(terminal.before)

    shown = await asyncio.to_thread(watched)
    assert "importing messages" in shown
    assert "8/8" in shown
