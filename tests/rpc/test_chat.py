"""Chat: a turn, answered whole."""

import pytest

from tests.kit.openai_stub import OpenAIStub
from tests.rpc.session import SYSTEM, Session, texts
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

RUSSIAN = "Привет GPT! Меня зовут Виктор, как дела?"
SCRIPTS = {
    "russian": RUSSIAN,
    "chinese": "你好，我叫维克多。你能记住我吗？",
    "arabic": "مرحبا، اسمي فيكتور. كيف حالك؟",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 👋🏽 🇺🇦",
    "combining": "e\u0301 и\u0306 \u200bzero\u200dwidth \ufeff",
    "lines": "первая\nвторая\r\n\tтретья\x00\x7f ",
}
LOOKS_LIKE_CODE = "{topic} {0} {{x}} {question} {chat_history} $where $$NOW $a.b %s {{{"


async def test_the_second_turn_sends_the_first_to_the_model(
    session: Session, model: OpenAIStub
) -> None:
    """The model's second input is system, first question, first reply, second question."""
    await session.chat(RUSSIAN)
    await session.chat("Как меня зовут?")

    assert model.inputs == [
        [SYSTEM, ("user", RUSSIAN)],
        [
            SYSTEM,
            ("user", RUSSIAN),
            ("assistant", f"reply to: {RUSSIAN}"),
            ("user", "Как меня зовут?"),
        ],
    ]


async def test_an_answer_tells_all_about_its_turn(session: Session, model: OpenAIStub) -> None:
    """Message, sequence, usage, finish reason, context and model are in the answer."""
    await session.chat("раз")
    answer = await session.chat("два")

    assert (answer.message.role, answer.message.text) == (pb.ROLE_ASSISTANT, "reply to: два")
    assert answer.message.status == pb.TURN_STATUS_COMPLETED
    assert answer.sequence == answer.message.sequence == 2
    assert answer.finish_reason == pb.FINISH_REASON_STOP
    assert answer.model == "gpt-4o-mini"
    assert not answer.replayed
    usage = answer.usage
    assert usage.input_tokens == sum(model.count_tokens(text) for _, text in model.inputs[1])
    assert usage.output_tokens == model.count_tokens("reply to: два")
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert (answer.context.included_messages, answer.context.omitted_messages) == (2, 0)
    assert not answer.context.summary_used


async def test_an_answer_is_listed_as_it_was_given(session: Session) -> None:
    """The message of an answer, id and time included, is the one that is listed."""
    answer = await session.chat("Сколько будет 2+2?")
    question, reply = await session.messages()

    assert reply == answer.message
    assert "" != question.id != reply.id
    assert question.create_time.ToDatetime() <= reply.create_time.ToDatetime()
    assert question.create_time.nanos % 1_000_000 == 0


async def test_a_call_may_come_without_a_deadline(session: Session) -> None:
    """Then the server's own is what ends it."""
    answer = await session.chat("Привет", timeout=None)

    assert answer.message.text == "reply to: Привет"


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
async def test_any_script_comes_through_unchanged(
    session: Session, model: OpenAIStub, text: str
) -> None:
    """Text is the same at the model, in the answer, in the list and in the next turn's input."""
    model.reply = lambda messages: f"«{messages[-1]['content']}»"
    answer = await session.chat(text)
    await session.chat("дальше")

    pair = [("user", text), ("assistant", f"«{text}»")]
    assert answer.message.text == f"«{text}»"
    assert texts(await session.messages())[:2] == pair
    assert model.inputs[1] == [SYSTEM, *pair, ("user", "дальше")]


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_braces_and_dollars_are_text(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """What looks like a template or an operator is neither, in a question and in the history."""
    await (session.streamed if streams else session.chat)(LOOKS_LIKE_CODE)
    await session.chat(LOOKS_LIKE_CODE)

    pair = [("user", LOOKS_LIKE_CODE), ("assistant", f"reply to: {LOOKS_LIKE_CODE}")]
    assert model.inputs[1] == [SYSTEM, *pair, ("user", LOOKS_LIKE_CODE)]
    assert texts(await session.messages()) == [*pair, *pair]


async def test_metadata_keys_may_be_anything(session: Session, model: OpenAIStub) -> None:
    """Keys with dots and dollars are kept, and never sent to the model."""
    labels = {"a.b": "1", "$x": "$y", "": "пусто", "$where": "{}", "ключ": "значение", "_id": "0"}
    await session.chat(message=pb.Message(text="с метками", metadata=labels))

    assert (await session.messages())[0].metadata == labels
    assert model.calls[0].messages[-1] == {"role": "user", "content": "с метками"}
