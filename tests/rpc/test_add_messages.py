"""AddMessages: messages appended as one turn, all or nothing, without a model."""

import grpc
import pytest

from tests.kit.openai_stub import OpenAIStub
from tests.kit.status import error_of
from tests.rpc.session import SYSTEM, Session, message, texts
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
CALL = pb.ToolCall(id="call_1", name="получить_погоду", arguments_json='{"город": "Кёльн"}')
ALL_ROLES = [
    message("system", "Отвечай коротко."),
    message("user", "Hello, World", name="Виктор", metadata={"источник": "импорт", "a.b": "$x"}),
    message("assistant", tool_calls=[CALL, pb.ToolCall(id="call_2", name="f")]),
    message("tool", "Дождь", tool_call_id="call_1"),
    message("tool", "", tool_call_id="call_2"),
    message("assistant", "Идёт дождь 🌧"),
    pb.Message(text="без роли"),
    message("user", parts=[pb.ContentPart(text="смотри"), pb.ContentPart(image_url="data:,x")]),
]
# 65,536 code points, 262,144 bytes: as long as a text may be both ways.
LONGEST = "🌧" * 65_536


def _plain(stored: pb.Message) -> pb.Message:
    """A stored message without what the server adds."""
    plain = pb.Message()
    plain.CopyFrom(stored)
    for name in ("id", "sequence", "status", "create_time"):
        plain.ClearField(name)
    return plain


async def test_messages_of_all_roles_are_stored_as_they_were(
    session: Session, model: OpenAIStub
) -> None:
    """Every field comes back; no role means USER, and no arguments mean {}. No model is asked."""
    added = await session.add(*ALL_ROLES)

    expected = [_plain(each) for each in ALL_ROLES]
    expected[2].tool_calls[1].arguments_json = "{}"
    expected[6].role = pb.ROLE_USER
    assert [_plain(each) for each in added.messages] == expected
    assert await session.messages() == list(added.messages)
    assert len({each.id for each in added.messages}) == len(ALL_ROLES)
    assert {each.sequence for each in added.messages} == {added.sequence} == {1}
    assert {each.status for each in added.messages} == {pb.TURN_STATUS_COMPLETED}
    assert not model.calls


async def test_what_the_server_sets_is_ignored_on_input(session: Session) -> None:
    """A caller cannot choose id, sequence, status or time."""
    sent = message("user", "привет", id="mine", sequence=99, status=pb.TURN_STATUS_FAILED)
    sent.create_time.FromSeconds(1)
    (stored,) = (await session.add(sent)).messages

    assert stored.id != "mine"
    assert (stored.sequence, stored.status) == (1, pb.TURN_STATUS_COMPLETED)
    assert stored.create_time.seconds > 1_700_000_000


async def test_appended_messages_go_to_the_model(session: Session, model: OpenAIStub) -> None:
    """The next turn's input holds them in order, SYSTEM messages in their place."""
    await session.add(*ALL_ROLES)
    await session.chat("А завтра?")

    roles = [each["role"] for each in model.calls[0].messages]
    appended = ["system", "user", "assistant", "tool", "tool", "assistant", "user", "user"]
    assert roles == ["system", *appended, "user"]
    assert model.inputs[0][:3] == [SYSTEM, ("system", "Отвечай коротко."), ("user", "Hello, World")]
    call = model.calls[0].messages[3]["tool_calls"][0]
    assert (call["id"], call["function"]["name"]) == (CALL.id, CALL.name)
    assert "metadata" not in model.calls[0].messages[2]


async def test_as_many_and_as_much_as_allowed_is_one_turn(session: Session) -> None:
    """500 messages, or just under 2 MiB, are appended at once."""
    many = await session.add(*(message("user", f"№{n}") for n in range(500)))
    much = await session.add(*(message("user", LONGEST) for _ in range(7)))

    assert (len(many.messages), many.sequence) == (500, 1)
    assert (len(much.messages), much.sequence) == (7, 2)
    assert texts(many.messages) == [("user", f"№{n}") for n in range(500)]


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
async def test_a_message_that_says_nothing_is_stored(
    session: Session, model: OpenAIStub, role: str
) -> None:
    """Models answer nothing at times, and a history that is brought here has such messages."""
    await session.add(message("user", "да"), message(role), message("user", "نعم"))
    await session.chat("А теперь?")

    assert texts(await session.messages())[:3] == [("user", "да"), (role, ""), ("user", "نعم")]
    assert model.inputs[0][2] == (role, "")


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([], "messages"),
        ([message("user", "да")] * 501, "messages"),
        ([message("user", LONGEST)] * 8, "messages"),
        (
            [message("user", "да"), message("user", parts=[pb.ContentPart(text="")])],
            "messages[1].parts[0].text",
        ),
        ([message("user", "да"), message("tool", "нет")], "messages[1].tool_call_id"),
        ([message("user", LONGEST + "🌧")], "messages[0].text"),
    ],
    ids=["none", "501", "2-MiB", "empty-part", "tool-without-call", "too-long-one"],
)
async def test_appending_is_all_or_nothing(
    session: Session, messages: list[pb.Message], field: str
) -> None:
    """One bad message, or too much, and nothing is stored; the error names the field."""
    error = await error_of(session.add(*messages))

    assert error.what == INVALID
    assert list(error.bad_fields) == [field]
    assert await session.everything() == []


async def test_messages_that_say_nothing_are_messages(session: Session, model: OpenAIStub) -> None:
    """Models answer so now and then, and histories from elsewhere hold it."""
    said = [message("user", "да"), message("assistant"), message("user"), message("system")]
    await session.add(*said)
    await session.chat("وأنت؟")

    kept = [("user", "да"), ("assistant", ""), ("user", ""), ("system", "")]
    assert texts(await session.everything())[:4] == kept
    assert model.inputs[-1][1:] == [*kept, ("user", "وأنت؟")]
