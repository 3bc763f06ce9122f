"""TurnkeepChatMessageHistory as LangChain's methods use it."""

import asyncio
from typing import Any, cast

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

import turnkeep
import turnkeep.sync
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from turnkeep.langchain import TurnkeepChatMessageHistory

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAIR: list[BaseMessage] = [HumanMessage("Привет"), AIMessage("你好")]


async def test_many_messages_are_one_turn(
    async_client: turnkeep.ConversationClient, user_id: str
) -> None:
    """One by one they are a turn each; none are no turn at all."""
    history = TurnkeepChatMessageHistory("1", user_id=user_id, async_client=async_client)
    await history.aadd_messages([])
    await history.aadd_messages(PAIR)
    await history.aadd_messages(PAIR[:1])

    stored = [each async for each in async_client.session("1", user_id).messages()]
    assert [each.sequence for each in stored] == [1, 1, 2]
    assert await history.aget_messages() == [*PAIR, PAIR[0]]


async def test_a_program_with_the_blocking_client_alone_may_await(
    client: turnkeep.sync.ConversationClient, user_id: str
) -> None:
    """Its calls run in threads: the event loop goes on."""
    history = TurnkeepChatMessageHistory("1", user_id=user_id, client=client, limit=2)
    await history.aadd_messages(PAIR)
    assert await history.aget_messages() == PAIR
    await history.aclear()
    assert await history.aget_messages() == []


async def test_plain_methods_work_beside_a_running_loop(
    client: turnkeep.sync.ConversationClient,
    async_client: turnkeep.ConversationClient,
    user_id: str,
) -> None:
    """With both clients each method runs on its own kind."""
    history = TurnkeepChatMessageHistory(
        "1", user_id=user_id, client=client, async_client=async_client
    )
    history.add_user_message("Привет")
    history.add_ai_message("你好")
    history.add_message(ToolMessage("نعم", tool_call_id="1"))

    assert (
        await history.aget_messages()
        == history.messages
        == [
            *PAIR,
            ToolMessage("نعم", tool_call_id="1"),
        ]
    )
    assert str(history) == "Human: Привет\nAI: 你好\nTool: نعم"
    assert repr(history) == f"TurnkeepChatMessageHistory('1', user_id='{user_id}')"


async def test_a_plain_method_on_the_awaited_client_alone_says_what_to_pass(
    async_client: turnkeep.ConversationClient,
) -> None:
    """As a program that calls invoke and made only the asynchronous client."""
    history = TurnkeepChatMessageHistory("1", async_client=async_client)
    with pytest.raises(RuntimeError, match=r"pass client=turnkeep\.sync\.ConversationClient"):
        _ = history.messages
    with pytest.raises(RuntimeError, match=r"pass client=turnkeep\.sync\.ConversationClient"):
        history.clear()


async def test_clients_in_the_wrong_place_are_told_at_once(client: Any, async_client: Any) -> None:
    """Or none at all, a limit of nothing, an id that is a number."""
    with pytest.raises(TypeError, match="pass this async_client="):
        TurnkeepChatMessageHistory("1", client=async_client)
    with pytest.raises(TypeError, match="pass this client="):
        TurnkeepChatMessageHistory("1", async_client=client)
    with pytest.raises(TypeError, match=r"or both"):
        TurnkeepChatMessageHistory("1")
    with pytest.raises(ValueError, match="at least 1 message, not 0"):
        TurnkeepChatMessageHistory("1", client=client, limit=0)
    with pytest.raises(TypeError, match=r"session_id is a text, not a int: pass str\(7\)"):
        TurnkeepChatMessageHistory(cast(str, 7), client=client)


async def test_one_session_id_of_two_users_is_two_sessions(
    async_client: turnkeep.ConversationClient, user_id: str
) -> None:
    """What one clears the other keeps."""
    mine = TurnkeepChatMessageHistory("1", user_id=user_id, async_client=async_client)
    other = TurnkeepChatMessageHistory("1", user_id=f"{user_id}-2", async_client=async_client)
    await mine.aadd_messages(PAIR)
    await other.aadd_messages(PAIR[:1])
    await mine.aclear()

    assert await mine.aget_messages() == []
    assert await other.aget_messages() == PAIR[:1]


@pytest.mark.parametrize(
    ("limit", "kept"), [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (6, 6), (7, 6)]
)
async def test_a_limit_gives_the_newest_whole_turns(
    client: turnkeep.sync.ConversationClient,
    async_client: turnkeep.ConversationClient,
    user_id: str,
    limit: int,
    kept: int,
) -> None:
    """Turns of 1, 2, 2 and 1 messages: never half of one, in their order."""
    history = TurnkeepChatMessageHistory(
        "1", user_id=user_id, client=client, async_client=async_client, limit=limit
    )
    said = [HumanMessage(f"№{number}") for number in range(6)]
    for turn in (said[:1], said[1:3], said[3:5], said[5:]):
        await history.aadd_messages(turn)

    assert await history.aget_messages() == history.messages == said[-kept:]


async def test_a_limit_reads_no_more_than_it_needs(
    client: turnkeep.sync.ConversationClient,
    async_client: turnkeep.ConversationClient,
    user_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One page of one message more than is wanted, however long the session."""
    for start in (0, 400, 800):
        said = [HumanMessage(str(start + number)) for number in range(400)]
        await TurnkeepChatMessageHistory(
            "1", user_id=user_id, async_client=async_client
        ).aadd_messages(said)
    pages: list[Any] = []
    for calls in (client._calls, async_client._calls):
        monkeypatch.setattr(calls, "unary", _recorded(calls.unary, pages))
    history = TurnkeepChatMessageHistory(
        "1", user_id=user_id, client=client, async_client=async_client, limit=400
    )

    assert await history.aget_messages() == history.messages == said
    assert [each.page_size for each in pages] == [401, 401]
    history.limit = None
    assert len(history.messages) == 1_200


async def test_more_than_a_request_takes_becomes_several_turns(
    client: turnkeep.sync.ConversationClient,
    async_client: turnkeep.ConversationClient,
    user_id: str,
) -> None:
    """500 messages or 2 MiB each; a call of a tool and its results stay in one."""
    call = {"name": "f", "args": {}, "id": "1"}
    said: list[BaseMessage] = [HumanMessage(str(number)) for number in range(498)]
    said += [AIMessage("", tool_calls=[call] * 2)]
    said += [ToolMessage("да", tool_call_id="1"), ToolMessage("нет", tool_call_id="1")]
    said += [HumanMessage("🌧" * 60_000) for _ in range(9)]
    history = TurnkeepChatMessageHistory(
        "1", user_id=user_id, client=client, async_client=async_client
    )
    await asyncio.to_thread(history.add_messages, said)

    stored = [each async for each in async_client.session("1", user_id).messages()]
    turns = [sum(each.sequence == number for each in stored) for number in (1, 2, 3)]
    assert turns == [498, 3 + 8, 1]
    assert await history.aget_messages() == said


async def test_results_that_no_request_holds_are_parted_and_kept_in_order(
    async_client: turnkeep.ConversationClient, user_id: str
) -> None:
    """501 results of one call cannot be one turn."""
    said: list[BaseMessage] = [AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}])]
    said += [ToolMessage(str(number), tool_call_id="1") for number in range(501)]
    history = TurnkeepChatMessageHistory("1", user_id=user_id, async_client=async_client)
    await history.aadd_messages(said)

    assert await history.aget_messages() == said


async def test_one_message_that_cannot_be_kept_stops_them_all(
    async_client: turnkeep.ConversationClient, user_id: str
) -> None:
    """Before anything is sent; and what the service refuses is a TurnkeepError."""
    history = TurnkeepChatMessageHistory("1", user_id=user_id, async_client=async_client)
    with pytest.raises(ValueError, match="additional_kwargs"):
        await history.aadd_messages(
            [*[HumanMessage("да")] * 600, AIMessage("нет", additional_kwargs={"k": b"x"})]
        )
    with pytest.raises(turnkeep.InvalidArgument) as refused:
        await history.aadd_messages([HumanMessage("я" * 70_000)])

    assert list(refused.value.bad_fields) == ["messages[0].text"]
    assert await history.aget_messages() == []


async def test_turns_that_the_service_ran_read_as_plain_messages(
    async_client: turnkeep.ConversationClient, model: OpenAIStub, user_id: str
) -> None:
    """A program may look at, and go on with, what others began."""
    await async_client.session("1", user_id).chat("Как дела?")
    history = TurnkeepChatMessageHistory("1", user_id=user_id, async_client=async_client)

    assert await history.aget_messages() == [
        HumanMessage("Как дела?"),
        AIMessage("reply to: Как дела?"),
    ]


async def test_a_restart_of_the_server_between_two_calls_is_not_noticed(
    environment: dict[str, str], user_id: str
) -> None:
    """Neither the history nor the program's connection ends with it."""
    async with ServerProcess(environment) as first:
        port = first.address.rpartition(":")[2]
        with turnkeep.sync.ConversationClient(first.address) as client:
            history = TurnkeepChatMessageHistory("1", user_id=user_id, client=client)
            await asyncio.to_thread(history.add_messages, PAIR)
            first.kill()
            again = {**environment, "TURNKEEP_LISTEN": f"127.0.0.1:{port}"}
            async with ServerProcess(again):
                assert await history.aget_messages() == PAIR


def _recorded(unary: Any, requests: list[Any]) -> Any:
    def recorded(method: Any, request: Any, timeout_seconds: float | None) -> Any:
        requests.append(type(request).FromString(request.SerializeToString()))
        return unary(method, request, timeout_seconds)

    return recorded
