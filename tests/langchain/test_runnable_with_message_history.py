"""Programs with RunnableWithMessageHistory and a model of their own, over Turnkeep's history."""

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import ConfigurableFieldSpec, RunnableConfig
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_openai import ChatOpenAI

import turnkeep
import turnkeep.sync
from tests.kit.openai_stub import OpenAIStub
from tests.langchain.warnings_of_langchain import deprecated_runnable
from turnkeep.langchain import TurnkeepChatMessageHistory

pytestmark = [pytest.mark.asyncio(loop_scope="session"), deprecated_runnable]

SPECS = [
    ConfigurableFieldSpec(id="user_id", annotation=str),
    ConfigurableFieldSpec(id="session_id", annotation=str),
]


@pytest.fixture
def program(
    client: turnkeep.sync.ConversationClient,
    async_client: turnkeep.ConversationClient,
    model: OpenAIStub,
) -> RunnableWithMessageHistory:
    """A model with a prompt, its history per (user_id, session_id)."""

    def history(*, user_id: str, session_id: str) -> TurnkeepChatMessageHistory:
        return TurnkeepChatMessageHistory(
            session_id, user_id=user_id, client=client, async_client=async_client, limit=40
        )

    prompt = ChatPromptTemplate.from_messages(
        [("system", "Ты {кто}"), MessagesPlaceholder("chat_history"), ("human", "{question}")]
    )
    llm = ChatOpenAI(
        api_key="test", model="gpt-4o-mini", base_url=model.base_url, stream_usage=True
    )
    return RunnableWithMessageHistory(
        prompt | llm,
        history,
        input_messages_key="question",
        history_messages_key="chat_history",
        history_factory_config=SPECS,
    )


def config(user_id: str, session_id: str = "1") -> RunnableConfig:
    return {"configurable": {"user_id": user_id, "session_id": session_id}}


def question(text: str) -> dict[str, Any]:
    return {"кто": "помощник", "question": text}


async def test_invoke_and_ainvoke_go_on_with_one_another(
    program: RunnableWithMessageHistory, model: OpenAIStub, user_id: str
) -> None:
    """Each question's input holds the turns before it; the other user's is another session."""
    await program.ainvoke(question("Меня зовут Виктор"), config(user_id))
    await asyncio.to_thread(program.invoke, question("我叫什么？"), config(user_id))
    await program.ainvoke(question("ما اسمي؟"), config(f"{user_id}-2"))

    assert model.inputs[1] == [
        ("system", "Ты помощник"),
        ("user", "Меня зовут Виктор"),
        ("assistant", "reply to: Меня зовут Виктор"),
        ("user", "我叫什么？"),
    ]
    assert model.inputs[2] == [("system", "Ты помощник"), ("user", "ما اسمي؟")]


async def test_a_streamed_turn_is_kept_as_langchain_hands_it_over(
    program: RunnableWithMessageHistory,
    async_client: turnkeep.ConversationClient,
    user_id: str,
) -> None:
    """One turn: the question and the pieces put together, with the usage of the model's reply."""
    pieces = [each async for each in program.astream(question("Да?"), config(user_id))]
    asked, replied = await TurnkeepChatMessageHistory(
        "1", user_id=user_id, async_client=async_client
    ).aget_messages()

    assert "".join(each.text for each in pieces) == "reply to: Да?"
    assert asked == HumanMessage("Да?")
    assert isinstance(replied, AIMessageChunk)
    assert replied.text == "reply to: Да?"
    assert replied.usage_metadata
    assert replied.usage_metadata["total_tokens"] > 0
    assert replied.id == pieces[0].id


async def test_the_reply_is_kept_with_its_usage_and_its_origin(
    program: RunnableWithMessageHistory,
    client: turnkeep.sync.ConversationClient,
    user_id: str,
) -> None:
    """What LangChain returned is what is read later, to the last field."""
    reply = await asyncio.to_thread(program.invoke, question("Да?"), config(user_id))
    history = TurnkeepChatMessageHistory("1", user_id=user_id, client=client)

    assert isinstance(reply, AIMessage)
    assert reply.usage_metadata
    assert history.messages == [HumanMessage("Да?"), reply]
