"""Two servers over one MongoDB: one order in every session, one turn a request."""

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import cycle

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from tests.conftest import fresh_database_name
from tests.faults.service import Caller, environment, texts
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.kit.status import call_error
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
CLEARED = (grpc.StatusCode.ABORTED, "SESSION_CLEARED")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def history_url(mongod: Mongod) -> str:
    """The database that both servers use."""
    return mongod.url_for(fresh_database_name())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def two(model_provider: OpenAIStub, history_url: str) -> AsyncIterator[list[Caller]]:
    """A caller of each of two servers."""
    env = environment(history_url, model_provider, max_messages=1_000)
    async with ServerProcess(env) as one, ServerProcess(env) as other:
        yield [Caller(one), Caller(other)]


async def test_fifty_chats_at_once_get_one_order_and_each_saw_all_turns_before_it(
    two: list[Caller], model: OpenAIStub
) -> None:
    model.delay_seconds = 0.02
    answers = await asyncio.gather(
        *(
            caller.chat("race", f"question {n}", timeout_seconds=60)
            for n, caller in zip(range(50), cycle(two), strict=False)
        )
    )

    ordered = sorted(answers, key=lambda answer: answer.sequence)
    assert [answer.sequence for answer in ordered] == list(range(1, 51))
    assert len(model.calls) == 50
    listed = texts(await two[0].messages("race"))
    assert [sequence for sequence, _ in listed] == [n for n in range(1, 51) for _ in range(2)]
    said = [text for _, text in listed]
    assert said[1::2] == [answer.message.text for answer in ordered]
    inputs = {each[-1][1]: [text for _, text in each[1:]] for each in model.inputs}
    for turn in range(50):
        assert inputs[said[2 * turn]] == said[: 2 * turn + 1]


async def test_a_busy_caller_of_one_server_does_not_keep_the_other_s_out(
    two: list[Caller], model: OpenAIStub
) -> None:
    """Three callers that never stop on one server, one on the other: it waits a few turns."""
    model.delay_seconds = 0.3
    busy, patient = two
    done = asyncio.Event()

    async def go_on() -> None:
        while not done.is_set():
            await busy.chat("contended", "again")

    loops = [asyncio.create_task(go_on()) for _ in range(3)]
    await model.arrived(2)
    waited_from = len(model.calls)
    await patient.chat("contended", "me too", timeout_seconds=20)
    turns_waited = len(model.calls) - waited_from
    done.set()
    await asyncio.gather(*loops)
    assert turns_waited < 10


async def test_one_request_id_sent_twenty_times_at_once_is_one_turn_and_one_model_call(
    two: list[Caller], model: OpenAIStub
) -> None:
    model.delay_seconds = 0.05
    answers = await asyncio.gather(
        *(
            caller.chat("retried", "once", request_id="r-1")
            for _, caller in zip(range(20), cycle(two), strict=False)
        )
    )

    assert len(model.calls) == 1
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 19
    assert len(_but_for_replayed(answers)) == 1
    assert texts(await two[1].messages("retried")) == [(1, "once"), (1, "reply to: once")]


async def test_messages_added_twenty_times_at_once_under_one_request_id_are_one_turn(
    two: list[Caller], model: OpenAIStub
) -> None:
    answers = await asyncio.gather(
        *(
            caller.add("added", "a", "b", request_id="r-1")
            for _, caller in zip(range(20), cycle(two), strict=False)
        )
    )

    assert model.calls == []
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 19
    assert len(_but_for_replayed(answers)) == 1
    assert texts(await two[1].messages("added")) == [(1, "a"), (1, "b")]


async def test_a_retry_is_recognised_by_the_other_server_however_many_turns_later(
    two: list[Caller], model: OpenAIStub
) -> None:
    first = await two[0].chat("later", "once", request_id="r-1", window=0)
    for n in range(20):
        await two[0].add("later", f"{n}")
    again = await two[1].chat("later", "once", request_id="r-1", window=0)
    assert again.replayed
    assert _but_for_replayed([first, again]) == _but_for_replayed([first])
    assert len(model.calls) == 1
    assert (await two[1].messages("later"))[-1].sequence == 21


async def test_a_storm_of_chats_appends_and_clears_doubles_and_loses_nothing(
    two: list[Caller], model: OpenAIStub, history_url: str
) -> None:
    model.delay_seconds = 0.01
    acknowledged: dict[int, list[str]] = {}

    async def act(n: int) -> None:
        caller = two[n % 2]
        await asyncio.sleep(random.uniform(0, 0.5))
        if n % 10 == 9:
            await caller.clear("storm")
        elif n % 3 == 0:
            added = await caller.add("storm", f"{n}a", f"{n}b", request_id=f"r-{n}")
            assert acknowledged.setdefault(added.sequence, [f"{n}a", f"{n}b"])[0] == f"{n}a"
        else:
            try:
                answer = await caller.chat("storm", f"{n}", request_id=f"r-{n}")
            except grpc.aio.AioRpcError as error:
                if call_error(error).what != CLEARED:
                    raise
            else:
                said = [f"{n}", answer.message.text]
                assert acknowledged.setdefault(answer.sequence, said)[0] == f"{n}"

    await asyncio.gather(*(act(n) for n in range(80)))
    last = await two[0].add("storm", "the end")
    acknowledged[last.sequence] = ["the end"]

    async with AsyncMongoClient[dict[str, int]](history_url) as client:
        stored = (
            await client.get_default_database()["turns"].find({"session_id": "storm"}).to_list()
        )
    places = sorted(document["sequence"] for document in stored)
    floor = max(each["sequence"] for each in stored if str(each["status"]) == "CLEARED")
    assert places == list(range(floor, last.sequence + 1))
    kept = [(n, text) for n in sorted(acknowledged) if n > floor for text in acknowledged[n]]
    assert texts(await two[0].messages("storm")) == kept


def _but_for_replayed(
    answers: list[pb.ChatResponse] | list[pb.AddMessagesResponse],
) -> set[bytes]:
    """The different answers among these, as bytes."""
    different = set()
    for answer in answers:
        answer.replayed = False
        different.add(answer.SerializeToString(deterministic=True))
    return different
