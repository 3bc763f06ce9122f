"""LangChain's own histories, as programs write them: what an import has to read."""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langchain_mongodb import MongoDBChatMessageHistory
from pymongo import MongoClient

with warnings.catch_warnings():
    # Of the package's end, at import. Any other warning is an error.
    warnings.filterwarnings("ignore", "`langchain-community` is being sunset", DeprecationWarning)
    from langchain_community.chat_message_histories import (
        FileChatMessageHistory,
        SQLChatMessageHistory,
    )

_WRITERS = 4


def exchange(n: int) -> list[BaseMessage]:
    """A question, a tool call with its result, and the answer: one turn, in several scripts."""
    call = ToolCall(name="поиск", args={"q": f"天气 {n}", "дни": [n, 1.5]}, id=f"call-{n}")
    return [
        HumanMessage(f"Вопрос {n}: какая погода? مرحبا"),
        AIMessage("", tool_calls=[call], id=f"run-{n}"),
        ToolMessage(f"晴 {n} 🌤", tool_call_id=f"call-{n}", artifact={"°C": n}),
        AIMessage(f"Ответ {n}: солнечно 👋", response_metadata={"model_name": "gpt-4o"}),
    ]


def write_mongodb(
    url: str,
    sessions: dict[str, Sequence[BaseMessage]],
    database: str,
    collection: str = "message_store",
    **names: Any,
) -> None:
    """Writes the sessions, several at a time; not waiting for the disk, as what is read is not
    what a crash of MongoDB would take."""
    with MongoClient[dict[str, Any]](url, w=1, journal=False) as client:

        def write(session_id: str) -> None:
            history = MongoDBChatMessageHistory(
                None, session_id, database, collection, client=client, **names
            )
            history.add_messages(sessions[session_id])

        with ThreadPoolExecutor(_WRITERS) as writers:
            list(writers.map(write, sessions))


def write_sqlite(
    path: Path, sessions: dict[str, Sequence[BaseMessage]], table: str = "message_store"
) -> None:
    """Writes the sessions, in one transaction each."""
    for session_id, messages in sessions.items():
        history = SQLChatMessageHistory(session_id, table, connection=f"sqlite:///{path}")
        history.add_messages(messages)
        history.engine.dispose()


def write_file(path: Path, messages: Sequence[BaseMessage], **options: Any) -> None:
    """Writes one session's file."""
    FileChatMessageHistory(str(path), **options).add_messages(messages)
