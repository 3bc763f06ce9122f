"""A thousand random messages through the adapter, the service and the database, and back."""

import json
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage

import turnkeep
import turnkeep.sync
from tests.langchain.any_messages import messages
from turnkeep.langchain import TurnkeepChatMessageHistory

MESSAGES_A_TURN = 10
turns = st.lists(messages, min_size=MESSAGES_A_TURN, max_size=MESSAGES_A_TURN)
# The same thousand every time: a pipeline that fails once in ten runs helps nobody.
thousand = settings(
    max_examples=1_000 // MESSAGES_A_TURN,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def exactly(found: list[BaseMessage]) -> list[tuple[type[BaseMessage], str]]:
    """What `==` takes for the same is not always: True is not 1, and 1.0 is neither."""
    return [
        (type(each), json.dumps({**vars(each), **(each.model_extra or {})}, sort_keys=True))
        for each in found
    ]


@thousand
@given(said=turns)
def test_a_thousand_messages_come_back_equal(
    client: turnkeep.sync.ConversationClient, said: list[BaseMessage]
) -> None:
    """Classes, contents and every field, in their order."""
    history = TurnkeepChatMessageHistory(uuid4().hex, client=client)
    history.add_messages(said)

    found = history.messages
    assert found == said
    assert exactly(found) == exactly(said)


@pytest.mark.asyncio(loop_scope="session")
@thousand
@given(said=turns)
async def test_a_thousand_messages_come_back_equal_when_awaited(
    async_client: turnkeep.ConversationClient, said: list[BaseMessage]
) -> None:
    """The same over the client that is awaited."""
    history = TurnkeepChatMessageHistory(uuid4().hex, async_client=async_client)
    await history.aadd_messages(said)

    found = await history.aget_messages()
    assert found == said
    assert exactly(found) == exactly(said)
