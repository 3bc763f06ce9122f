"""How a stream of the Python client ends, as the server sees it."""

import json

import pytest

from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.rpc.session import new_id
from turnkeep import ConversationClient

pytestmark = pytest.mark.asyncio(loop_scope="session")

STREAMS = 30


async def test_a_stream_that_was_read_to_its_end_is_ok_in_the_servers_log(
    server: ServerProcess, model: OpenAIStub
) -> None:
    """Leaving the block at once is no hanging up: the call's status has been read by then."""
    ids = [new_id("r") for _ in range(STREAMS)]
    async with ConversationClient(server.address) as client:
        for request_id in ids:
            session = client.session(new_id())
            async with session.stream("Привет 👋", request_id=request_id) as stream:
                assert [text async for text in stream]
        # The log's line of a call is written before the call after it is answered.
        await client.session(new_id()).chat("конец")
    logged = map(json.loads, server.log)

    assert {each["code"] for each in logged if each.get("request_id") in ids} == {"OK"}
