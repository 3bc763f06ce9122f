"""ChatTurnkeep: the question goes to the service, which has history, prompt and model."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_chunk_to_message,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.runnables import RunnableConfig, RunnableLambda

import turnkeep
import turnkeep.sync
from tests.kit.openai_stub import Fault, OpenAIStub
from turnkeep.langchain import ChatTurnkeep, TurnkeepChatMessageHistory

pytestmark = pytest.mark.asyncio(loop_scope="session")

CANCELLED = [("user", "cancelled"), ("assistant", "cancelled")]


@pytest.fixture(params=["both", "blocking", "awaited"])
def chat(
    request: pytest.FixtureRequest,
    client: turnkeep.sync.ConversationClient,
    async_client: turnkeep.ConversationClient,
    model: OpenAIStub,
    user_id: str,
) -> ChatTurnkeep:
    """With both clients, or one alone."""
    return ChatTurnkeep(
        client=None if request.param == "awaited" else client,
        async_client=None if request.param == "blocking" else async_client,
        user_id=user_id,
        session_id="1",
    )


@pytest.fixture
def both(
    client: turnkeep.sync.ConversationClient,
    async_client: turnkeep.ConversationClient,
    model: OpenAIStub,
    user_id: str,
) -> ChatTurnkeep:
    return ChatTurnkeep(client=client, async_client=async_client, user_id=user_id, session_id="1")


class Seen(BaseCallbackHandler):
    """What callbacks are told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.events.append((f"start {kwargs['name']}", inputs))

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        self.events.append(("end", outputs))

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        self.events.append(("error", error))


async def test_the_service_remembers_and_nothing_is_sent_again(
    chat: ChatTurnkeep, model: OpenAIStub
) -> None:
    """The second question's input holds the first turn once."""
    await chat.ainvoke("Меня зовут Виктор")
    reply = await chat.ainvoke("我叫什么？")

    assert model.inputs[1][1:] == [
        ("user", "Меня зовут Виктор"),
        ("assistant", "reply to: Меня зовут Виктор"),
        ("user", "我叫什么？"),
    ]
    assert reply.text == "reply to: 我叫什么？"
    assert reply.usage_metadata
    assert reply.usage_metadata["total_tokens"] > 0
    assert reply.response_metadata["sequence"] == 2
    assert reply.response_metadata["finish_reason"] == "stop"
    assert reply.response_metadata["model_name"] == "gpt-4o-mini"
    assert len(reply.response_metadata["request_id"]) == 32


async def test_the_pieces_of_a_stream_add_up_to_the_reply(
    chat: ChatTurnkeep, model: OpenAIStub
) -> None:
    """Usage, origin and id come with the last; sending the same request again replays the turn."""
    whole: Any = None
    texts = []
    async for piece in chat.astream("Да?", request_id="r-1"):
        texts.append(piece.text)
        whole = piece if whole is None else whole + piece
    replayed = await chat.ainvoke("Да?", request_id="r-1")

    assert texts == ["repl", "y to", ": Да", "?", ""]
    assert isinstance(whole, AIMessageChunk)
    assert message_chunk_to_message(whole) == replayed
    assert len(model.calls) == 1


async def test_the_blocking_methods_do_the_same(both: ChatTurnkeep) -> None:
    """invoke, stream and batch, in a thread beside this loop, where the model is."""
    reply = await asyncio.to_thread(both.invoke, "Да?", None, request_id="r-1")
    pieces = await asyncio.to_thread(lambda: list(both.stream("Да?", request_id="r-1")))
    several = await asyncio.to_thread(both.batch, ["раз", "два"])

    assert message_chunk_to_message(pieces[0] + pieces[1]) == reply
    assert [each.text for each in several] == ["reply to: раз", "reply to: два"]


async def test_a_call_of_a_tool_streams_to_the_same_message(
    both: ChatTurnkeep, model: OpenAIStub
) -> None:
    """And its result is the next question."""
    model.faults.append(Fault.TOOL_CALLS)
    whole: Any = None
    async for piece in both.astream("Погода?", request_id="r-1"):
        whole = piece if whole is None else whole + piece
    reply = await both.ainvoke("Погода?", request_id="r-1")

    assert reply.tool_calls
    assert message_chunk_to_message(whole) == reply
    assert reply.response_metadata["finish_reason"] == "tool_calls"
    result = ToolMessage("Дождь", tool_call_id=reply.tool_calls[0]["id"])
    assert (await both.ainvoke([result])).text == "reply to: Дождь"
    assert [role for role, _ in model.inputs[1]] == ["system", "user", "assistant", "tool"]


async def test_the_config_names_the_session(both: ChatTurnkeep, model: OpenAIStub) -> None:
    """Before the one that was bound; as for RunnableWithMessageHistory, in a chain too."""
    chain = RunnableLambda(lambda text: text) | both | StrOutputParser()
    other: RunnableConfig = {"configurable": {"session_id": "2", "user_id": "أحمد".encode().hex()}}
    await both.ainvoke("раз")
    await chain.ainvoke("два", other)
    assert await chain.ainvoke("три", other) == "reply to: три"

    assert [len(each) for each in model.inputs] == [2, 2, 4]
    assert {each.id for each in chain.config_specs} == {"session_id", "user_id"}


async def test_without_a_session_it_says_how_to_name_one(
    client: turnkeep.sync.ConversationClient,
) -> None:
    """At once, not when the stream is read; so with an id that is no text."""
    chat = ChatTurnkeep(client=client)
    with pytest.raises(TypeError, match="session_id is a text, not a int"):
        chat.stream("Да?", {"configurable": {"session_id": 7}})
    for call in (chat.invoke, chat.stream, chat.astream):
        with pytest.raises(ValueError, match="no session: pass config="):
            call("Да?")


async def test_a_prompts_variables_come_with_the_question(
    both: ChatTurnkeep, model: OpenAIStub
) -> None:
    """And options bound to it, or given with the call, reach the model."""
    chat = both.bind(temperature=0.5, stop=["."])
    await chat.ainvoke({"question": "Да?", "topic": "математика"}, seed=7)

    body = model.calls[0].body
    assert (body["temperature"], body["stop"], body["seed"]) == (0.5, ["."], 7)
    with pytest.raises(TypeError, match="chat_history is a list; the prompt's variables are texts"):
        await both.ainvoke({"question": "Да?", "chat_history": []})
    with pytest.raises(ValueError, match=r"no 'question'; it has \['вопрос'\]"):
        await both.ainvoke({"вопрос": "Да?"})


@pytest.mark.parametrize(
    "template",
    [
        PromptTemplate.from_template("Что такое {x}?"),
        ChatPromptTemplate.from_template("Что такое {x}?"),
    ],
    ids=["text", "chat"],
)
async def test_a_prompt_template_may_make_the_question(
    both: ChatTurnkeep, model: OpenAIStub, template: Any
) -> None:
    """`prompt | chat`, of one human message."""
    chain = template | both
    pieces = [each.text async for each in chain.astream({"x": "синус"})]

    assert "".join(pieces) == "reply to: Что такое синус?"
    assert model.inputs[0][-1] == ("user", "Что такое синус?")


@pytest.mark.parametrize(
    ("question", "error", "about"),
    [
        ([HumanMessage("да"), AIMessage("нет")], ValueError, "not 2 messages"),
        ([], ValueError, "not 0 messages"),
        (SystemMessage("будь"), ValueError, "not 'system': instructions are a prompt"),
        (AIMessage("нет"), ValueError, "not 'ai'"),
        (7, TypeError, "not a int"),
    ],
    ids=["history", "nothing", "instructions", "reply", "number"],
)
async def test_what_is_no_question_is_refused(
    both: ChatTurnkeep, model: OpenAIStub, question: Any, error: type[Exception], about: str
) -> None:
    """Before anything is sent: the history is not for the caller to send."""
    with pytest.raises(error, match=about):
        await both.ainvoke(question)
    assert not model.calls


async def test_a_questions_own_fields_are_kept(
    both: ChatTurnkeep, async_client: turnkeep.ConversationClient, user_id: str
) -> None:
    """A history of the same session reads the message that was asked."""
    asked = HumanMessage([{"type": "text", "text": "Да?", "id": "b-1"}], id="m-1", name="Виктор")
    await both.ainvoke(asked)
    history = TurnkeepChatMessageHistory("1", user_id=user_id, async_client=async_client)

    assert (await history.aget_messages())[0] == asked


async def test_variables_that_are_none_are_as_if_they_were_not_there(
    both: ChatTurnkeep, model: OpenAIStub
) -> None:
    reply = await both.bind(variables=None).ainvoke("Да?", variables=None)
    assert reply.text == "reply to: Да?"


async def test_callbacks_see_one_run(both: ChatTurnkeep, model: OpenAIStub) -> None:
    """Its input and its whole output, streamed or not; an error as it is."""
    seen = Seen()
    reply = await both.ainvoke("Да?", {"callbacks": [seen]})
    async for _ in both.astream("Да?", {"callbacks": [seen], "run_name": "вопрос"}):
        pass
    model.always(Fault.SERVER_ERROR)
    with pytest.raises(turnkeep.TurnkeepError) as failed:
        await both.ainvoke("Да?", {"callbacks": [seen]}, timeout_seconds=0.5)

    names = [name for name, _ in seen.events]
    assert names == [
        "start ChatTurnkeep",
        "end",
        "start вопрос",
        "end",
        "start ChatTurnkeep",
        "error",
    ]
    assert seen.events[1] == ("end", reply)
    assert seen.events[3][1].text == "reply to: Да?"
    assert seen.events[5] == ("error", failed.value)


async def test_a_stream_that_is_left_cancels_its_turn(
    chat: ChatTurnkeep, model: OpenAIStub, async_client: turnkeep.ConversationClient, user_id: str
) -> None:
    """The model stops; the text that had come is kept, and not sent to it again."""
    model.delta_delay_seconds = 0.2
    async with aclosing(chat.astream("Расскажи")) as pieces:
        async for _ in pieces:
            break
    await model.calls[0].ended()

    assert model.calls[0].closed_at is not None
    assert await _unfinished(async_client, user_id) == [
        ("user", "cancelled"),
        ("assistant", "cancelled"),
    ]


async def test_a_cancelled_task_cancels_its_turn(
    chat: ChatTurnkeep, model: OpenAIStub, async_client: turnkeep.ConversationClient, user_id: str
) -> None:
    """In a chain too, however deep."""
    model.delta_delay_seconds = 0.2
    chain = chat | StrOutputParser()
    arrived = asyncio.Event()

    async def read() -> None:
        async for _ in chain.astream("Расскажи"):
            arrived.set()

    task = asyncio.create_task(read())
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await model.calls[0].ended()

    assert model.calls[0].closed_at is not None
    assert await _unfinished(async_client, user_id) == [
        ("user", "cancelled"),
        ("assistant", "cancelled"),
    ]


async def test_a_blocking_stream_that_is_left_cancels_its_turn(
    both: ChatTurnkeep, model: OpenAIStub
) -> None:
    """By close(), or by a loop that breaks and drops it."""
    model.delta_delay_seconds = 0.2

    def leave() -> None:
        for _ in both.stream("Расскажи"):
            break

    await asyncio.to_thread(leave)
    await model.calls[0].ended()
    assert model.calls[0].closed_at is not None


async def _unfinished(client: turnkeep.ConversationClient, user_id: str) -> list[tuple[str, str]]:
    """Who speaks in the session's messages, and their status; the commit may take a moment."""
    async with asyncio.timeout(5):
        while True:
            listed = client.session("1", user_id).messages(include_unfinished=True)
            if found := [(each.role, each.status) async for each in listed]:
                return found
            await asyncio.sleep(0.02)
