"""ModelOptions: what a request asks of the model is what the model is asked."""

import pytest

from tests.kit.openai_stub import OpenAIStub
from tests.rpc.session import Session
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASKED = {
    "temperature": 0.3,
    "top_p": 0.9,
    "max_output_tokens": 17,
    "seed": 2**40,
    "stop": ["\n\n", "СТОП"],
}
# Values that are false in Python, and still were set.
ZEROS = {"temperature": 0.0, "seed": 0}
NAMES = {"temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "stop"}


async def _body(session: Session, model: OpenAIStub, streams: bool, **options: object) -> dict:
    call = session.streamed if streams else session.chat
    await call("привет", options=pb.ModelOptions(**options))
    return model.calls[-1].body


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_options_reach_the_model(session: Session, model: OpenAIStub, streams: bool) -> None:
    """Each option is in the HTTP body under the provider's name for it."""
    body = await _body(session, model, streams, **ASKED)

    most = body.get("max_completion_tokens", body.get("max_tokens"))
    assert most == ASKED["max_output_tokens"]
    assert {name: body[name] for name in ASKED if name in body} == {
        name: value for name, value in ASKED.items() if name != "max_output_tokens"
    }


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_options_set_to_zero_are_set(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """A temperature of 0 is not the provider's default temperature."""
    body = await _body(session, model, streams, **ZEROS)

    assert {name: body.get(name) for name in ZEROS} == ZEROS


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_options_that_are_not_set_are_not_sent(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """The provider's own defaults stay, and one turn's options are not the next one's."""
    await _body(session, model, streams, **ASKED)
    body = await _body(session, model, streams)

    assert not NAMES & {name for name, value in body.items() if value is not None}
    assert body["model"] == "gpt-4o-mini"
    assert bool(body.get("stream")) is streams


@pytest.mark.parametrize("streams", [False, True], ids=["chat", "stream"])
async def test_another_allowed_model_answers(
    session: Session, model: OpenAIStub, streams: bool
) -> None:
    """A model that the server allows is the one asked, and the one named in the answer."""
    options = pb.ModelOptions(model="gpt-4o")
    if streams:
        started, *_, last = await session.streamed("привет", options=options)
        assert started.started.model == "gpt-4o"
        answer = last.completed
    else:
        answer = await session.chat("привет", options=options)

    assert answer.model == model.calls[0].body["model"] == "gpt-4o"
