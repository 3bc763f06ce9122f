"""Histories of the real FileChatMessageHistory: a file, and a folder of them."""

import json
from pathlib import Path

import pytest
from langchain_core.messages import messages_to_dict

from tests.kit.import_source import imported, messages_of
from tests.kit.langchain_back import all_back
from tests.kit.langchain_histories import exchange, write_file
from turnkeep_server.errors import SettingsError
from turnkeep_server.history.memory import InMemoryHistoryStore
from turnkeep_server.migration.report import Report
from turnkeep_server.migration.sources import SourceOptions, opened_source

LONG = [message for n in range(300) for message in exchange(n)]


@pytest.fixture
def store() -> InMemoryHistoryStore:
    return InMemoryHistoryStore()


async def taken_over(store: InMemoryHistoryStore, url: Path | str, **options: object) -> Report:
    async with opened_source(SourceOptions(url=str(url), **options)) as source:  # type: ignore[arg-type]
        return await imported(source, store)


async def test_a_file_is_a_session_named_by_its_stem_or_as_one_says(
    tmp_path: Path, store: InMemoryHistoryStore
) -> None:
    # Whole, as LangChain's class reads and writes all of it for each message.
    (tmp_path / "victor.json").write_text(json.dumps(messages_to_dict(LONG[:-1])))
    assert (await taken_over(store, tmp_path / "victor.json")).imported == 1_199
    write_file(tmp_path / "victor.json", LONG[-1:])
    assert (await taken_over(store, f"file://{tmp_path}/victor.json")).imported == 1
    assert all_back(await messages_of(store, "victor")) == LONG

    assert (await taken_over(store, tmp_path / "victor.json", sessions={"42"})).imported == 1_200
    assert all_back(await messages_of(store, "42")) == LONG


async def test_a_folder_is_a_session_a_file(tmp_path: Path, store: InMemoryHistoryStore) -> None:
    for n in range(3):
        write_file(tmp_path / f"s{n}.json", exchange(n), ensure_ascii=bool(n))
    (tmp_path / ".hidden").write_text("!")
    (tmp_path / "folder").mkdir()
    async with opened_source(SourceOptions(url=str(tmp_path))) as source:
        assert await source.count() == 12
    report = await taken_over(store, tmp_path)
    assert (report.complete, report.sessions) == (True, 3)
    for n in range(3):
        assert all_back(await messages_of(store, f"s{n}")) == exchange(n)
    # The same file alone is the same session.
    assert (await taken_over(store, tmp_path / "s1.json")).already_there == 4
    assert (await taken_over(store, tmp_path, sessions={"s2", "s9"})).sessions == 1


async def test_two_files_of_one_stem_are_not_mixed(
    tmp_path: Path, store: InMemoryHistoryStore
) -> None:
    write_file(tmp_path / "a.json", exchange(1))
    write_file(tmp_path / "a.txt", exchange(2))
    report = await taken_over(store, tmp_path)
    assert (report.imported, report.left, report.problem_count) == (4, 4, 1)


@pytest.mark.parametrize(
    ("content", "index", "imported_before"),
    [
        ("", 0, 0),
        ("{}", 0, 0),
        ("null", 0, 0),
        ("[", 0, 0),
        ('[{"type": "human", "data": {"content": "да"}}', 1, 1),
        ('[{"type": "human", "data": {"content": "да"}}, {"typ', 1, 1),
        ('[{"type": "human", "data": {"content": "да"}}] [', 1, 1),
    ],
)
async def test_a_file_that_breaks_off_is_told_where_and_read_until_there(
    tmp_path: Path, store: InMemoryHistoryStore, content: str, index: int, imported_before: int
) -> None:
    (tmp_path / "a.json").write_text(content)
    report = await taken_over(store, tmp_path / "a.json")
    assert [each.index for each in report.problems] == [index]
    assert (report.imported, report.unreadable) == (imported_before, 1)


async def test_an_empty_history_is_complete(tmp_path: Path, store: InMemoryHistoryStore) -> None:
    (tmp_path / "a.json").write_text(" [ ]\n")
    assert (await taken_over(store, tmp_path)).complete


async def test_a_path_may_hold_a_colon(tmp_path: Path, store: InMemoryHistoryStore) -> None:
    """It is no URL's if it is there."""
    (tmp_path / "чат: 聊天").mkdir()
    write_file(tmp_path / "чат: 聊天" / "a.json", exchange(1))
    assert (await taken_over(store, tmp_path / "чат: 聊天")).imported == 4


async def test_another_encoding_is_an_option(tmp_path: Path, store: InMemoryHistoryStore) -> None:
    options = {"encoding": "utf-16", "ensure_ascii": False}
    write_file(tmp_path / "a.json", exchange(1), **options)
    assert "UnicodeDecodeError" in str((await taken_over(store, tmp_path)).problems[0])
    assert (await taken_over(store, tmp_path, encoding="utf-16")).complete
    assert all_back(await messages_of(store, "a")) == exchange(1)


async def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    write_file(tmp_path / "a.json", exchange(1))
    for url, options, words in (
        ("", {}, "--from is empty"),
        (tmp_path / "nope", {}, "there is no file or folder"),
        (tmp_path / "a.json", {"sessions": {"a", "b"}}, "give one --session"),
        (tmp_path, {"encoding": "utf-9"}, "--encoding"),
    ):
        with pytest.raises(SettingsError, match=words):
            await taken_over(InMemoryHistoryStore(), url, **options)  # type: ignore[arg-type]
