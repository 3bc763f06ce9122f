"""Chat: messages of parts, tools, and the ways in which a reply may end."""

import base64

import pytest

from tests.kit import openai_wire as wire
from tests.kit.openai_stub import Fault, OpenAIStub
from tests.rpc.session import Session, joined, message, new_id
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = b"%PDF-1.7\n\x00\xff"
PARTS = [
    pb.ContentPart(text="Что на картинке? {topic}"),
    pb.ContentPart(image_url="https://example.com/кот.png?a=1&b=2"),
    pb.ContentPart(image_url=PNG),
    pb.ContentPart(file=pb.File(name="отчёт.pdf", media_type="application/pdf", data=PDF)),
]
PARTS_AT_OPENAI = [
    {"type": "text", "text": "Что на картинке? {topic}"},
    {"type": "image_url", "image_url": {"url": "https://example.com/кот.png?a=1&b=2"}},
    {"type": "image_url", "image_url": {"url": PNG}},
    {
        "type": "file",
        "file": {
            "filename": "отчёт.pdf",
            "file_data": f"data:application/pdf;base64,{base64.b64encode(PDF).decode()}",
        },
    },
]


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_parts_reach_the_model_in_its_own_form_and_are_kept(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """Text, images and files go to OpenAI's API as it wants them, now and with the history."""
    call = session.streamed if streams else session.chat
    await call(message=pb.Message(parts=PARTS, name="Виктор"))
    await session.chat("дальше")

    sent = {"role": "user", "content": PARTS_AT_OPENAI, "name": "Виктор"}
    assert model.calls[0].messages[-1] == sent
    assert model.calls[1].messages[1] == sent
    kept = (await session.messages())[0]
    assert (list(kept.parts), kept.name, kept.text) == (PARTS, "Виктор", "")


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_a_tool_call_is_answered_by_a_tool_message(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """The reply holds the tool call; a TOOL message continues it, and the model sees both."""
    model.faults.append(Fault.TOOL_CALLS)
    if streams:
        asked = (await session.streamed("Какая погода в Кёльне?"))[-1].completed
    else:
        asked = await session.chat("Какая погода в Кёльне?")
    (call,) = asked.message.tool_calls
    told = await session.chat(message=message("tool", "Дождь, 8°", tool_call_id=call.id))

    assert asked.finish_reason == pb.FINISH_REASON_TOOL_CALLS
    assert asked.message.text == ""
    assert (call.id, call.name) == (wire.TOOL_CALL_ID, wire.TOOL_NAME)
    assert call.arguments_json == wire.TOOL_ARGUMENTS
    assert told.finish_reason == pb.FINISH_REASON_STOP
    _, _, assistant, tool = model.calls[1].messages
    assert assistant["tool_calls"] == [wire.tool_call()]
    assert tool == {"role": "tool", "tool_call_id": call.id, "content": "Дождь, 8°"}
    assert (await session.messages())[1].tool_calls == [call]


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
@pytest.mark.parametrize(
    ("fault", "reason", "text"),
    [
        (Fault.LENGTH, pb.FINISH_REASON_MAX_TOKENS, "reply to: привет"),
        (Fault.CONTENT_FILTER_PARTIAL, pb.FINISH_REASON_CONTENT_FILTER, "reply to"),
        (Fault.SURROGATE, pb.FINISH_REASON_STOP, "reply to: привет\ufffd"),
    ],
)
async def test_a_reply_that_ends_otherwise_says_so_and_is_kept(
    session: Session,
    model: OpenAIStub,
    fault: Fault,
    reason: pb.FinishReason.ValueType,
    text: str,
    streams: bool,
) -> None:
    """A cut, half filtered or half broken reply is a turn like any other, with its reason."""
    model.faults.append(fault)
    if streams:
        events = await session.streamed("привет")
        answer = events[-1].completed
        assert joined(events) == text
    else:
        answer = await session.chat("привет")
    await session.chat("дальше")

    assert (answer.finish_reason, answer.message.text) == (reason, text)
    assert (await session.messages())[1] == answer.message
    assert model.inputs[1][2] == ("assistant", text)


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_a_model_may_have_nothing_to_say(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """An empty reply with its end is a reply: stored, replayed, and followed by other turns."""
    model.reply, request_id = lambda _: "", new_id("r")
    for replayed in (False, True):
        if streams:
            answer = (await session.streamed("Помолчи", request_id=request_id))[-1].completed
        else:
            answer = await session.chat("Помолчи", request_id=request_id)
        assert answer.finish_reason == pb.FINISH_REASON_STOP
        assert (answer.message.text, answer.replayed) == ("", replayed)
    await session.chat("Теперь говори")

    assert model.inputs[1][1:3] == [("user", "Помолчи"), ("assistant", "")]


async def test_a_surrogate_pair_that_is_cut_in_two_is_put_together(
    session: Session, model: OpenAIStub
) -> None:
    """An emoji whose halves come in two deltas is whole at the caller's."""
    model.reply = lambda _: "улыбка \U0001f600!"
    model.deltas = lambda _: ["улыбка \ud83d", "\ude00!"]
    events = await session.streamed("привет")

    assert joined(events) == events[-1].completed.message.text == "улыбка \U0001f600!"
