"""A request's budget of tokens: kept to, told, and refused where it cannot be kept."""

import grpc
import pytest

from tests.kit.openai_stub import OpenAIStub
from tests.kit.status import error_of
from tests.rpc.session import SYSTEM, Session, message, texts
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOO_LARGE = (grpc.StatusCode.FAILED_PRECONDITION, "CONTEXT_TOO_LARGE")
SAID = "Расскажи мне подробнее о том, что было вчера вечером. 昨天晚上发生了什么?"


def budget(tokens: int) -> pb.ContextPolicy:
    return pb.ContextPolicy(max_input_tokens=tokens)


async def _grown(session: Session, pairs: int) -> list[tuple[str, str]]:
    for number in range(pairs):
        await session.add(
            message("user", f"{number}: {SAID}"), message("assistant", f"{number}! {SAID}")
        )
    return texts(await session.messages())


@pytest.mark.parametrize("tokens", [60, 150, 400, 900])
async def test_the_newest_turns_that_fit_are_sent(
    session: Session, model: OpenAIStub, tokens: int
) -> None:
    """Whole turns, never over the budget, and as many as fit."""
    history = await _grown(session, 15)
    preview = await session.preview("И?", context=budget(tokens))
    wider = pb.ContextPolicy(max_messages=preview.context.included_messages + 2)
    with_one_more = (await session.preview("И?", context=wider)).context
    answer = await session.chat("И?", context=budget(tokens))

    sent = answer.context.included_messages
    assert sent % 2 == 0
    assert answer.context.omitted_messages == 30 - sent
    assert answer.context.estimated_input_tokens <= tokens
    assert model.inputs == [[SYSTEM, *history[30 - sent :], ("user", "И?")]]
    assert preview.context == answer.context
    assert sent == 30 or with_one_more.estimated_input_tokens > tokens


async def test_both_limits_hold_at_once(session: Session) -> None:
    """max_messages and max_input_tokens: whichever is met first."""
    await _grown(session, 10)
    ample = await session.preview("И?", context=pb.ContextPolicy(max_messages=6))
    policy = pb.ContextPolicy(max_messages=6, max_input_tokens=100_000)
    assert (await session.preview("И?", context=policy)).context == ample.context
    assert ample.context.included_messages == 6
    tight = pb.ContextPolicy(
        max_messages=6, max_input_tokens=ample.context.estimated_input_tokens - 1
    )
    assert (await session.preview("И?", context=tight)).context.included_messages == 4


@pytest.mark.parametrize("rpc", ["chat", "streamed", "preview"])
async def test_what_cannot_fit_is_refused_with_both_numbers(
    session: Session, model: OpenAIStub, rpc: str
) -> None:
    """CONTEXT_TOO_LARGE before anything is stored; with the number it names, it fits."""
    call = getattr(session, rpc)
    error = await error_of(call(SAID * 20, context=budget(50)))

    assert error.what == TOO_LARGE
    assert error.metadata["max_input_tokens"] == "50"
    needed = int(error.metadata["needed_tokens"])
    assert needed > 50
    assert str(needed) in error.message
    assert await session.everything() == []
    assert not model.calls
    assert (await error_of(call(SAID * 20, context=budget(needed - 1)))).what == TOO_LARGE
    await call(SAID * 20, context=budget(needed))


async def test_more_than_the_model_reads_cannot_be_asked_for(session: Session) -> None:
    """A budget over what gpt-4o-mini reads beside its reply is that, less the reply asked for."""
    options = pb.ModelOptions(max_output_tokens=16_000)
    most, question = 128_000 - 16_000, "你好 " * 20_000
    error = await error_of(
        session.preview(
            message=pb.Message(
                parts=[pb.ContentPart(text=question), pb.ContentPart(text=question)] * 4
            ),
            context=budget(10_000_000),
            options=options,
        )
    )
    assert error.what == TOO_LARGE
    assert error.metadata["max_input_tokens"] == str(most)


async def test_the_estimate_follows_what_the_model_reports(
    session: Session, model: OpenAIStub
) -> None:
    """A model for which each letter is a token is soon estimated so."""
    options = pb.ModelOptions(model="o4-mini")  # no other test asks this one
    count, model.count_tokens = model.count_tokens, len
    try:
        for n in range(5):
            answer = await session.chat(f"{n}: {SAID}", options=options)
    finally:
        model.count_tokens = count
    estimated, reported = answer.context.estimated_input_tokens, answer.usage.input_tokens
    assert 0.9 * reported < estimated < 1.1 * reported


async def test_a_preview_is_what_would_be_sent_and_leaves_nothing(
    session: Session, model: OpenAIStub
) -> None:
    """PreviewContext: the very messages of the model's input, no call, no turn."""
    await _grown(session, 3)
    await session.add(
        message("user", "{topic} {0} {{x}}"),
        message(
            "assistant", tool_calls=[pb.ToolCall(id="c", name="get", arguments_json='{"я":1}')]
        ),
    )
    await session.add(message("tool", "½", tool_call_id="c"), message("assistant", "0.5"))
    stored = await session.everything()
    preview = await session.preview("А 🙂 {x}?", request_id="r-1")
    assert not model.calls
    assert await session.everything() == stored
    answer = await session.chat("А 🙂 {x}?", request_id="r-1")

    assert not answer.replayed
    assert texts(preview.messages) == model.inputs[0]
    assert preview.context == answer.context
    assert preview.model == answer.model == "gpt-4o-mini"
    assert preview.messages[-4].tool_calls[0].arguments_json == '{"я":1}'
    assert not any(each.id or each.sequence for each in preview.messages)


async def test_a_preview_of_a_new_session_is_the_prompt_and_the_question(session: Session) -> None:
    preview = await session.preview("Привет")
    assert texts(preview.messages) == [SYSTEM, ("user", "Привет")]
    assert preview.context.included_messages == preview.context.omitted_messages == 0


async def test_a_preview_is_checked_as_a_chat_is(session: Session) -> None:
    error = await error_of(session.preview("", prompt="нет"))
    assert sorted(error.bad_fields) == ["prompt", "text"]
    error = await error_of(session.preview("?", prompt="none"))
    assert error.what == (grpc.StatusCode.INVALID_ARGUMENT, "UNKNOWN_PROMPT")
