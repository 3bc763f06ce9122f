"""Random operations: the MongoDB backend answers exactly as the one in memory does."""

import asyncio
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.history.contract import COMPLETED, answer, draft
from tests.kit.mongomock_async import AsyncMongomockClient
from turnkeep_server.errors import SessionCleared, TurnTakenOver
from turnkeep_server.history.contract import HistoryStore, RequestIdTaken, SequenceTaken
from turnkeep_server.history.memory import InMemoryHistoryStore
from turnkeep_server.history.mongodb import store_over
from turnkeep_server.history.mongodb_connection import MongoDBConnection
from turnkeep_server.turns import UNFINISHED, SessionKey, Turn, TurnStatus

sessions = st.sampled_from(
    [SessionKey("default", user, "1") for user in ("", "анна".encode().hex())]
)
sequences = st.integers(1, 6)
places = st.sampled_from([1, 1, 1, 0])  # from the head on: the next place, or a taken one
request_ids = st.sampled_from(["", "", "r1", "r2"])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
operations = st.one_of(
    st.tuples(st.just("append"), sessions, places, request_ids, texts),
    st.tuples(st.just("begin"), sessions, places, request_ids, texts),
    st.tuples(st.just("complete"), sessions, texts),
    st.tuples(st.just("fail"), sessions, texts),
    st.tuples(st.just("clear"), sessions),
    st.tuples(st.just("find"), sessions, request_ids),
    st.tuples(st.just("page"), sessions, st.booleans(), st.none() | sequences, st.integers(1, 4)),
    st.tuples(st.just("tail"), sessions, st.integers(1, 4)),
    st.tuples(st.just("sessions"), sessions),
)


def shown(turn: Turn) -> tuple[Any, ...]:
    """What of a turn both backends must agree on: all but ids, owners and times."""
    said = tuple((each.role, each.text) for each in turn.messages)
    return (turn.sequence, turn.status, said, turn.request_id, turn.messages_before, turn.failure)


async def perform(
    store: HistoryStore, operation: tuple[Any, ...], running: dict[SessionKey, Turn]
) -> Any:
    """The outcome of one operation, an error by its type."""
    name, session, *rest = operation
    history = store.history(session)
    try:
        match name, rest:
            case "append", [place, request_id, text]:
                sequence = max(1, (await history.tail(1)).head + place)
                return shown(await history.append(draft(text, request_id=request_id), sequence))
            case "begin", [place, request_id, text]:
                sequence = max(1, (await history.tail(1)).head + place)
                running[session] = await history.begin(draft(text, request_id=request_id), sequence)
                return shown(running[session])
            case "complete", [text] if session in running:
                return shown(await history.complete(running.pop(session), answer(text)))
            case "fail", [text] if session in running:
                return await history.fail(running.pop(session), TurnStatus.FAILED, "X", text)
            case "clear", []:
                return await history.clear_session()
            case "find", [request_id] if request_id:
                found = await history.find(request_id)
                return found and shown(found)
            case "page", [newest_first, after, limit]:
                statuses = COMPLETED | UNFINISHED
                page = await history.page(
                    statuses, limit=limit, newest_first=newest_first, after=after
                )
                return [shown(each) for each in page]
            case "tail", [limit]:
                tail = await history.tail(limit)
                return [shown(each) for each in tail.turns], tail.head
            case "sessions", []:
                return {
                    (each.session, each.last_sequence, each.message_count)
                    for each in await store.sessions("default", session.user_id, limit=9)
                }
    except (SequenceTaken, RequestIdTaken):
        # Which of the two is told, when both are true, is the backend's own.
        return "taken"
    except (SessionCleared, TurnTakenOver) as lost:
        return type(lost).__name__
    return None


@settings(max_examples=150, deadline=None)
@given(st.lists(operations, max_size=25))
def test_both_backends_agree_on_every_outcome(steps: list[tuple[Any, ...]]) -> None:
    async def run() -> None:
        memory = InMemoryHistoryStore()
        client = cast(Any, AsyncMongomockClient())
        in_memory: dict[SessionKey, Turn] = {}
        in_mongodb: dict[SessionKey, Turn] = {}
        async with store_over(MongoDBConnection(client, "t", 5.0), 15.0) as mongodb:
            for step in steps:
                expected = await perform(memory, step, in_memory)
                assert await perform(mongodb, step, in_mongodb) == expected, step

    asyncio.run(run())
