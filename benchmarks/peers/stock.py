"""Stock LangChain as its documentation has it, made once a process and shared by all calls.

`prompt | ChatOpenAI` inside RunnableWithMessageHistory, over langchain-mongodb's history, which is
given a connection string and so opens a client and asks for its index at each turn: the example in
its own docstring.
With PEER_TUNED=1 as somebody writes it who has measured that: one MongoClient a process, and the
index made once. Both servers on it catch what the libraries raise and answer UNAVAILABLE.

What it does not do, because the libraries do not (and so nobody does):
- a failed or cancelled model call leaves nothing behind, not even the question;
- two turns on a session do not see each other, and their messages may come to lie between;
- a request_id means nothing: a call that is sent again is another turn;
- a turn's messages are one insert each, and a write that fails is logged: the caller has success;
- a clear does not stop a turn that runs, whose messages are there again after it;
- the whole history is read, and sent, at every turn.
"""

from functools import partial

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_mongodb.chat_message_histories import (
    DEFAULT_COLLECTION_NAME,
    DEFAULT_DBNAME,
    DEFAULT_SESSION_ID_KEY,
    MongoDBChatMessageHistory,
)
from langchain_openai import ChatOpenAI
from openai import OpenAIError
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from benchmarks.peers.environment import Environment

SYSTEM = "You are a helpful assistant."
"""The prompt that a turnkeep-server has when it is given none."""
FAILURES = (OpenAIError, PyMongoError)
"""What a caller is told of as UNAVAILABLE."""


class Stock:
    """The chain with its history, and the histories themselves.

    `chain` takes {"question": …} and the config that `config` makes.
    """

    def __init__(self, environment: Environment) -> None:
        client: MongoClient[dict[str, object]] = MongoClient(environment.history_url)
        database = client.get_default_database(DEFAULT_DBNAME)
        self._collection = database[DEFAULT_COLLECTION_NAME]
        self._collection.create_index(DEFAULT_SESSION_ID_KEY)
        tuned = {"connection_string": None, "client": client, "create_index": False}
        documented = {"connection_string": environment.history_url}
        history = partial(
            MongoDBChatMessageHistory,
            database_name=database.name,
            **(tuned if environment.tuned else documented),
        )
        # The library's own way to send less than everything.
        self._window = partial(history, history_size=environment.window)
        self._whole = history
        prompt = ChatPromptTemplate(
            [("system", SYSTEM), MessagesPlaceholder("chat_history"), ("human", "{question}")]
        )
        self.model = environment.model
        self.chain = RunnableWithMessageHistory(
            # Without stream_usage a stream from any other base_url tells no usage.
            prompt | ChatOpenAI(model=environment.model, stream_usage=True),
            self._history_of_turn,
            input_messages_key="question",
            history_messages_key="chat_history",
        )

    def _history_of_turn(self, session_id: str) -> BaseChatMessageHistory:
        return self._window(session_id=session_id)

    def history(self, user_id: str, session_id: str) -> BaseChatMessageHistory:
        """A session's whole history."""
        return self._whole(session_id=key(user_id, session_id))

    def sessions(self, user_id: str) -> list[str]:
        """The ids of a user's sessions, in no order that means anything."""
        found = self._collection.distinct(DEFAULT_SESSION_ID_KEY)
        return [each.partition("/")[2] for each in found if each.startswith(key(user_id, ""))]


def key(user_id: str, session_id: str) -> str:
    """The one session id that the library knows."""
    return f"{user_id}/{session_id}"


def config(user_id: str, session_id: str) -> RunnableConfig:
    """What tells the chain which session it is for."""
    return {"configurable": {"session_id": key(user_id, session_id)}}
