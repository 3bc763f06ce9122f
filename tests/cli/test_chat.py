"""`turnkeep chat` in a real terminal: replies come as they are made, and ctrl-C ends one."""

import asyncio
import signal

import pytest

from tests.cli.terminal import CTRL_C, CTRL_D, Terminal
from tests.client.scripted_server import ScriptedServer
from tests.kit.openai_stub import Fault, OpenAIStub
from tests.rpc.session import Session, texts
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = "Расскажи длинную историю 讲一个很长的故事 احك لي قصة طويلة 👩‍👩‍👧‍👦"


async def test_a_reply_is_on_the_screen_while_the_model_still_speaks(
    chat: Terminal, model: OpenAIStub
) -> None:
    """The first delta is seen before the last was sent, and nothing of the text is lost."""
    model.delta_delay_seconds = 0.05
    await chat.prompt()
    await chat.say(LONG)
    await chat.see("repl")
    still_speaking = not model.calls[0].finished
    rest = await chat.prompt()

    assert still_speaking
    assert rest == f"y to: {LONG}\n"
    assert model.calls[0].finished


async def test_ctrl_c_ends_the_reply_and_the_chat_goes_on(
    chat: Terminal, session: Session, model: OpenAIStub
) -> None:
    """The model's call is cut off, the turn is CANCELLED with what came, the next one runs."""
    model.faults.append(Fault.HANG_MID_STREAM)
    await chat.prompt()
    await chat.say("Расскажи историю")
    await chat.see("reply to: Ра")
    chat.press(CTRL_C)
    told = await chat.prompt()
    await model.calls[0].ended()
    answer = await chat.ask("Короче 🙏")
    kept = await session.everything()

    assert "cancelled" in told
    assert model.calls[0].closed_at is not None
    assert answer == "reply to: Короче 🙏\n"
    assert texts(kept) == [
        ("user", "Расскажи историю"),
        ("assistant", "reply to: Ра"),
        ("user", "Короче 🙏"),
        ("assistant", "reply to: Короче 🙏"),
    ]
    assert [each.status for each in kept] == [
        *(pb.TURN_STATUS_CANCELLED,) * 2,
        *(pb.TURN_STATUS_COMPLETED,) * 2,
    ]


async def test_ctrl_c_reaches_a_turn_that_still_waits_for_its_first_word(
    chat: Terminal, model: OpenAIStub
) -> None:
    """Also as a signal from elsewhere, and again: the chat stays."""
    model.delay_seconds = 60
    await chat.prompt()
    for number, interrupt in enumerate((chat.interrupt, lambda: chat.press(CTRL_C)), 1):
        await chat.say(f"Ты тут? {number}")
        asked = await model.arrived(number)
        interrupt()
        assert "cancelled" in await chat.prompt()
        await asked.ended()


async def test_clear_says_how_much_was_forgotten(
    chat: Terminal, session: Session, model: OpenAIStub
) -> None:
    """At once, without a question; the next turn knows nothing of it."""
    await chat.prompt()
    await chat.ask("Меня зовут Виктор")
    told = await chat.ask("/clear")
    await chat.ask("Как меня зовут?")

    assert told == "forgot 2 messages in 1 turn\n"
    assert [each.text for each in await session.everything()] == [
        "Как меня зовут?",
        "reply to: Как меня зовут?",
    ]
    assert ("user", "Меня зовут Виктор") not in model.inputs[1]


async def test_ctrl_d_leaves_with_exit_code_0(chat: Terminal) -> None:
    """And the terminal is as it was."""
    await chat.prompt()
    await chat.ask("Привет")
    chat.press(CTRL_D)

    assert await chat.ended() == 0
    assert chat.attributes_now() == chat.attributes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_chat_that_is_told_to_end_leaves_the_terminal_as_it_was(
    chat: Terminal, session: Session, model: OpenAIStub, number: signal.Signals
) -> None:
    """In mid-stream; the turn is CANCELLED and the end is the signal's, as without a handler."""
    model.faults.append(Fault.HANG_MID_STREAM)
    await chat.prompt()
    await chat.say("Скажи 你好")
    await chat.see("reply to: С")
    chat.interrupt(number)

    assert await chat.ended() == -number
    assert chat.attributes_now() == chat.attributes
    await model.calls[0].ended()
    assert [each.text for each in await session.ended_turn()] == ["Скажи 你好", "reply to: Ск"]


async def test_a_chat_that_is_told_to_end_at_the_prompt_leaves_the_terminal_as_it_was(
    chat: Terminal,
) -> None:
    await chat.prompt()
    chat.press("половина 一半")
    await chat.see("一半")
    chat.interrupt(signal.SIGTERM)

    assert await chat.ended() == -signal.SIGTERM
    assert chat.attributes_now() == chat.attributes


async def test_ctrl_c_behind_the_last_word_cancels_nothing(home: dict[str, str]) -> None:
    """The reply was complete, and only the call's end had not come yet."""
    async with ScriptedServer(lingers=True) as server:
        with Terminal("-s", server.address, "chat", "-S", "42", env=home) as chat:
            await chat.prompt()
            await chat.say("Привет")
            await chat.see("Привет 你好 🙂")
            await server.lingering.wait()
            chat.press(CTRL_C)
            told = await chat.prompt()
            usage = await chat.ask("/usage")

    assert "cancelled" not in told
    assert usage != "no turn was completed yet\n"


async def test_what_is_typed_during_a_reply_waits_for_the_prompt(
    chat: Terminal, model: OpenAIStub
) -> None:
    """It is not written into the reply, and not lost."""
    gate = asyncio.Event()
    model.gate = lambda _: gate.wait()
    await chat.prompt()
    await chat.say("первый")
    await model.arrived(1)
    chat.press("второй 二\r")
    gate.set()
    first = await chat.prompt()
    second = await chat.prompt()

    assert first == "reply to: первый\n"
    assert second.endswith("reply to: второй 二\n")


async def test_a_model_cannot_write_to_the_terminal_but_text(
    chat: Terminal, model: OpenAIStub
) -> None:
    """Escape sequences in a reply are shown, not obeyed."""
    model.reply = lambda _: "\x1b]0;owned\x07\x1b[2Jвот\x9b31m так"
    await chat.prompt()
    await chat.say("покажи")
    await chat.see("␛]0;owned␇␛[2Jвот\ufffd31m так")
