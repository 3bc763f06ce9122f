"""Histories of the real langchain-mongodb, read from a real MongoDB and taken over."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from bson import ObjectId
from langchain_core.messages import BaseMessage, HumanMessage, message_to_dict
from pydantic import SecretStr
from pymongo import AsyncMongoClient

from tests.conftest import fresh_database_name
from tests.kit.import_source import imported, messages_of
from tests.kit.langchain_back import all_back
from tests.kit.langchain_histories import exchange, write_mongodb
from tests.kit.mongod import Mongod
from turnkeep_server.errors import SettingsError
from turnkeep_server.history.contract import HistoryStore
from turnkeep_server.history.stores import opened_store
from turnkeep_server.migration.report import Report
from turnkeep_server.migration.sources import SourceOptions, opened_source


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[HistoryStore]:
    opened = opened_store(
        SecretStr(database_url), lease_seconds=15.0, operation_timeout_seconds=10.0
    )
    async with opened as store:
        yield store


@pytest.fixture
def source_name() -> str:
    return fresh_database_name()


def said(exchanges: int) -> list[BaseMessage]:
    return [message for n in range(exchanges) for message in exchange(n)]


async def written(mongod: Mongod, database: str, sessions: dict[str, Any], **names: Any) -> None:
    await asyncio.to_thread(write_mongodb, mongod.url, sessions, database, **names)


async def taken_over(store: HistoryStore, options: SourceOptions, **how: Any) -> Report:
    async with opened_source(options) as source:
        return await imported(source, store, **how)


async def test_every_session_is_taken_over_whole_and_once(
    mongod: Mongod, store: HistoryStore, source_name: str
) -> None:
    sessions = {f"s-{n}": said(n) for n in range(1, 8)}
    await written(mongod, source_name, sessions)
    options = SourceOptions(url=mongod.url, database=source_name)

    first = await taken_over(store, options)
    assert (first.complete, first.sessions, first.imported) == (True, 7, 4 * 28)
    for session_id, messages in sessions.items():
        assert all_back(await messages_of(store, session_id)) == messages
    again = await taken_over(store, options)
    assert (again.imported, again.already_there) == (0, 4 * 28)

    # As LangChain goes on writing: behind, one document a message.
    await written(mongod, source_name, {"s-3": said(5)[12:]})
    assert (await taken_over(store, options)).imported == 8
    assert all_back(await messages_of(store, "s-3")) == said(5)


async def test_the_source_is_only_read(
    mongod: Mongod, store: HistoryStore, source_name: str
) -> None:
    await written(mongod, source_name, {"42": said(3)})
    async with AsyncMongoClient[dict[str, Any]](mongod.url) as client:
        collection = client[source_name]["message_store"]
        before = await collection.find().sort("_id").to_list(None)
        indexes = await collection.index_information()
        await taken_over(store, SourceOptions(url=mongod.url, database=source_name))
        assert await collection.find().sort("_id").to_list(None) == before
        assert await collection.index_information() == indexes
        assert await client[source_name].list_collection_names() == ["message_store"]


async def test_names_of_one_s_own_and_only_some_sessions(
    mongod: Mongod, store: HistoryStore, source_name: str
) -> None:
    names = {"session_id_key": "chat", "history_key": "msg"}
    await written(mongod, source_name, {"a": said(1), "b": said(2)}, collection="chats", **names)
    url = mongod.url_for(source_name)
    options = SourceOptions(url=url, collection="chats", **names, sessions={"b", "c"})

    report = await taken_over(store, options, user_id="victor")
    assert (report.sessions, report.imported) == (1, 8)
    assert all_back(await messages_of(store, "b", "victor")) == said(2)
    assert await messages_of(store, "a", "victor") == []


async def test_the_order_is_that_of_the_ids_and_an_object_is_read_as_its_text_is(
    mongod: Mongod, store: HistoryStore, source_name: str
) -> None:
    messages = [HumanMessage(f"第{n} 👋") for n in range(50)]
    ids = sorted(ObjectId() for _ in messages)
    documents = [
        {"_id": each, "SessionId": "42", "History": message_to_dict(message)}
        for each, message in zip(ids, messages, strict=True)
    ]
    async with AsyncMongoClient[dict[str, Any]](mongod.url) as client:
        await client[source_name]["message_store"].insert_many(documents[::-1])
    assert (await taken_over(store, SourceOptions(url=mongod.url, database=source_name))).complete
    assert all_back(await messages_of(store, "42")) == messages


async def test_documents_without_a_session_or_a_history_are_told(
    mongod: Mongod, store: HistoryStore, source_name: str
) -> None:
    stored = json.dumps(message_to_dict(HumanMessage("да")))
    async with AsyncMongoClient[dict[str, Any]](mongod.url) as client:
        await client[source_name]["message_store"].insert_many(
            [{"SessionId": "42", "History": stored}, {"History": stored}, {"SessionId": "42"}]
        )
    report = await taken_over(store, SourceOptions(url=mongod.url, database=source_name))
    told = sorted((each.session_id, each.index) for each in report.problems)
    assert told == [("42", 1), ("None", None)]
    assert (report.imported, report.unreadable, report.left) == (1, 1, 1)


WRONG: Sequence[tuple[dict[str, Any], str]] = [
    ({"database": "nope"}, "there is no database 'nope'"),
    ({"collection": "nope"}, "has no collection 'nope' (--collection); there are: message_store"),
    ({"session_id_key": "nope"}, "(--session-id-key); there are: History, SessionId"),
    ({"history_key": "nope"}, "(--history-key); there are: History, SessionId"),
    ({"database": "a b"}, "--database"),
    ({"url": "mongodb://u:s3cret@/x"}, "no valid MongoDB URL"),
    ({"url": "postgresql://u:s3cret@h/x"}, "use one of mongodb:, mongodb+srv:, sqlite:, file:"),
]


@pytest.mark.parametrize(("changed", "words"), WRONG)
async def test_what_is_not_there_is_told_with_what_is(
    mongod: Mongod, source_name: str, changed: dict[str, Any], words: str
) -> None:
    await written(mongod, source_name, {"42": said(1)})
    options = SourceOptions(**{"url": mongod.url, "database": source_name, **changed})
    with pytest.raises(SettingsError) as refused:
        async with opened_source(options):
            pass
    assert words in str(refused.value)
    assert "s3cret" not in str(refused.value) + repr(options)
