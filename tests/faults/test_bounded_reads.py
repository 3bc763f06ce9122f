"""The cost of a call does not grow with the session or the user, by MongoDB's own count."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from tests.conftest import fresh_database_name
from tests.faults.documents import (
    abandoned_turn_document,
    session_document,
    session_key,
    turn_documents,
)
from tests.faults.profiler import profiled
from tests.faults.service import Caller, environment
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
TURNS = 10_000
WINDOW_TURNS = 20  # the default window's 40 messages
MANY, FEW = 10_000, 100
PAGE = 50
TIES = 3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def history_url(mongod: Mongod) -> str:
    """A database with a session of many turns, one that was abandoned, and two users' lists."""
    url = mongod.url_for(fresh_database_name())
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        await database["turns"].insert_many(turn_documents(session_key("long"), TURNS))
        await database["turns"].insert_many(turn_documents(session_key("abandoned"), TURNS))
        dead = abandoned_turn_document(session_key("abandoned"), TURNS + 1)
        await database["turns"].insert_one(dead)
        for user, count in (("many", MANY), ("few", FEW)):
            await database["sessions"].insert_many(
                session_document(session_key(f"s-{n}", user), n) for n in range(count)
            )
    return url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def caller(history_url: str, model_provider: OpenAIStub) -> AsyncIterator[Caller]:
    """A caller of a server over that database."""
    async with ServerProcess(environment(history_url, model_provider)) as server:
        yield Caller(server)


async def test_a_chat_in_a_session_of_ten_thousand_turns_reads_its_window_and_little_else(
    caller: Caller, model: OpenAIStub, history_url: str
) -> None:
    async with profiled(history_url) as profile:
        answer = await caller.chat("long", "next", request_id="next")

    turns = profile.documents_examined("turns")
    print(f"documents examined: {turns} of turns, {profile.documents_examined()} in all")
    assert answer.sequence == TURNS + 1
    assert answer.context.included_messages == 2 * WINDOW_TURNS
    assert len(model.inputs[0]) == 1 + 2 * WINDOW_TURNS + 1
    assert WINDOW_TURNS <= turns <= profile.documents_examined() <= WINDOW_TURNS + 2
    assert profile.keys_examined() <= 2 * (WINDOW_TURNS + 2)


async def test_no_call_scans_a_collection_nor_reads_a_whole_session(
    caller: Caller, model: OpenAIStub, history_url: str
) -> None:
    async with profiled(history_url) as profile:
        await caller.chat("long", "again", request_id="again")
        assert (await caller.chat("long", "again", request_id="again")).replayed
        reused = await error_of(caller.add("long", "found", request_id="r-5"))
        assert reused.what == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED")
        await caller.stream("long", "streamed")
        await caller.add("long", "added", request_id="added")
        await caller.chat("abandoned", "taken over")
        for order in (pb.ORDER_OLDEST_FIRST, pb.ORDER_NEWEST_FIRST):
            await _two_pages(caller, "long", order)
        await caller.sessions("many", PAGE)
    pages = 4 * (PAGE + 1)  # as many turns as messages are read at most
    windows = 7 * (WINDOW_TURNS + 3)
    print(f"documents examined: {profile.documents_examined()}; {sorted(profile.plans())}")
    assert not any("COLLSCAN" in plan for plan in profile.plans())
    assert profile.documents_examined() <= pages + windows + PAGE + 2


async def test_a_clear_reads_what_it_deletes_by_its_index(
    caller: Caller, model: OpenAIStub, history_url: str
) -> None:
    async with profiled(history_url) as profile:
        cleared = await caller.clear("abandoned")
        assert cleared.cleared_turns == TURNS + 2
        assert (await caller.clear("abandoned")).cleared_turns == 0
        assert await caller.messages("abandoned") == []
        await caller.chat("abandoned", "new")
    print(f"documents examined: {profile.documents_examined()}; {sorted(profile.plans())}")
    assert not any("COLLSCAN" in plan for plan in profile.plans())


@pytest.mark.parametrize("pages", [1, 2])
async def test_a_page_of_sessions_costs_the_same_for_a_user_who_has_many(
    caller: Caller, history_url: str, pages: int
) -> None:
    costs = []
    for user in ("few", "many"):
        async with profiled(history_url) as profile:
            token = ""
            for _ in range(pages):
                page = await caller.sessions(user, PAGE // 2, token)
                token = page.next_page_token
                assert len(page.sessions) == PAGE // 2
        costs.append((profile.documents_examined(), profile.keys_examined()))
    print(f"documents and keys examined: {costs}")
    # But for sessions of the millisecond in which a page ends: the next one looks at them again.
    ((few, _), (many, _)) = costs
    assert abs(few - many) <= TIES
    assert max(costs[0]) <= pages * (PAGE // 2 + 3)


async def _two_pages(caller: Caller, session_id: str, order: "pb.Order.ValueType") -> None:
    request = pb.ListMessagesRequest(session_id=session_id, page_size=PAGE, order=order)
    page = await caller.stub.ListMessages(request)
    request.page_token = page.next_page_token
    assert len((await caller.stub.ListMessages(request)).messages) == PAGE
