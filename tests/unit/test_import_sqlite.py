"""Histories of the real SQLChatMessageHistory in SQLite."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from langchain_core.messages import BaseMessage

from tests.kit.import_source import imported, messages_of
from tests.kit.langchain_back import all_back
from tests.kit.langchain_histories import exchange, write_sqlite
from turnkeep_server.errors import SettingsError, StartupError
from turnkeep_server.history.memory import InMemoryHistoryStore
from turnkeep_server.migration.sources import SourceOptions, opened_source

SESSIONS: dict[str, list[BaseMessage]] = {
    "victor": [message for n in range(300) for message in exchange(n)],
    "анна": exchange(1),
    "10": exchange(2),
}


async def test_every_session_is_taken_over_though_its_rows_lie_between_others(
    tmp_path: Path,
) -> None:
    path, store = tmp_path / "чат 1.db", InMemoryHistoryStore()
    write_sqlite(path, {name: messages[:3] for name, messages in SESSIONS.items()})
    write_sqlite(path, {name: messages[3:] for name, messages in SESSIONS.items()})
    before = path.read_bytes()
    async with opened_source(SourceOptions(url=f"sqlite:///{path}")) as source:
        assert await source.count() == 1_208
        report = await imported(source, store, quote_session_ids=True)
        again = await imported(source, store, quote_session_ids=True)

    assert (report.complete, report.sessions, report.imported) == (True, 3, 1_208)
    assert (again.imported, again.already_there) == (0, 1_208)
    assert all_back(await messages_of(store, "victor")) == SESSIONS["victor"]
    assert all_back(await messages_of(store, "%D0%B0%D0%BD%D0%BD%D0%B0")) == SESSIONS["анна"]
    assert path.read_bytes() == before


async def test_another_table_and_only_some_sessions(tmp_path: Path) -> None:
    path, store = tmp_path / "chat.db", InMemoryHistoryStore()
    write_sqlite(path, SESSIONS, table='my "table"')
    url = f"sqlite+aiosqlite:///{path}"
    options = SourceOptions(url=url, table='my "table"', sessions={"10", "nobody"})
    async with opened_source(options) as source:
        assert await source.count() == 4
        report = await imported(source, store, sessions={"10", "nobody"})
    assert report.sessions == 1
    assert [each.session_id for each in report.problems] == ["nobody"]
    assert all_back(await messages_of(store, "10")) == exchange(2)


async def test_rows_without_a_session_or_a_message_are_told(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    write_sqlite(path, {"10": exchange(2)})
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO message_store (session_id) VALUES ('10'), (NULL)")
    async with opened_source(SourceOptions(url=f"sqlite:///{path}")) as source:
        report = await imported(source, InMemoryHistoryStore())
    told = sorted((each.session_id, each.index) for each in report.problems)
    assert told == [("10", 4), ("None", None)]
    assert (report.imported, report.unreadable, report.left) == (4, 1, 1)


async def test_a_program_that_writes_meanwhile_is_not_kept_waiting(tmp_path: Path) -> None:
    path, store = tmp_path / "chat.db", InMemoryHistoryStore()
    write_sqlite(path, {"10": exchange(2)})
    async with opened_source(SourceOptions(url=f"sqlite:///{path}")) as source:
        async for session in source.sessions():
            async for _ in source.messages(session):
                with closing(sqlite3.connect(path, timeout=0)) as writer, writer:
                    writer.execute("INSERT INTO message_store (session_id) VALUES ('new')")
        assert (await imported(source, store)).imported == 4


@pytest.mark.parametrize(
    ("url", "names", "words"),
    [
        ("sqlite:///{}/none.db", {}, "there is no file"),
        ("sqlite://{}/chat.db", {}, "four slashes"),
        ("sqlite:///:memory:", {}, "write sqlite:///PATH"),
        (
            "sqlite:///{}/chat.db",
            {"table": "t"},
            "has no table 't' (--table); there are: message_s",
        ),
        ("sqlite:///{}/chat.db", {"session_id_key": "s"}, "there are: id, session_id, message"),
        ("sqlite:///{}/chat.db", {"history_key": "h"}, "no column 'h' (--history-key)"),
    ],
)
async def test_what_is_not_there_is_told_with_what_is(
    tmp_path: Path, url: str, names: dict[str, str], words: str
) -> None:
    write_sqlite(tmp_path / "chat.db", {"10": exchange(2)})
    with pytest.raises(SettingsError) as refused:
        async with opened_source(SourceOptions(url=url.format(tmp_path), **names)):  # type: ignore[arg-type]
            pass
    assert words in str(refused.value)


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "chat.db").write_text("Привет" * 200)
    with pytest.raises(StartupError, match="cannot be read as SQLite"):
        async with opened_source(SourceOptions(url=f"sqlite:///{tmp_path}/chat.db")):
            pass
