"""At the prompt of `turnkeep chat`: editing, the history of lines, and the commands."""

import re
import stat
from pathlib import Path

import pytest

from tests.cli.terminal import ALT_ENTER, CTRL_C, CTRL_D, CTRL_J, ENTER, UP, Terminal
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.rpc.session import Session, new_id

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCRIPTS = ["Привет, мир", "你好，世界", "مرحبا بالعالم", "שלום", "👩‍👩‍👧‍👦🇺🇦 e\u0301"]


@pytest.fixture
def line_history(home: dict[str, str]) -> Path:
    """Where the lines are kept."""
    return Path(home["XDG_STATE_HOME"], "turnkeep", "chat-history")


async def test_texts_in_every_script_arrive_whole(chat: Terminal, model: OpenAIStub) -> None:
    """What is typed is what the model is asked, and what it says is what is seen."""
    await chat.prompt()
    for text in SCRIPTS:
        assert await chat.ask(text) == f"reply to: {text}\n"
    assert [each[-1] for each in model.inputs] == [("user", each) for each in SCRIPTS]


async def test_a_text_of_several_lines_is_one_turn(chat: Terminal, model: OpenAIStub) -> None:
    """Alt-enter and ctrl-J make a line; so does a paste; enter sends."""
    await chat.prompt()
    chat.press(f"раз{ALT_ENTER}二{CTRL_J}три")
    chat.press("\x1b[200~\rчетыре\nпять\x1b[201~")
    await chat.ask("")
    assert model.inputs[0][-1] == ("user", "раз\n二\nтри\nчетыре\nпять")


async def test_ctrl_c_at_the_prompt_empties_the_line(chat: Terminal, model: OpenAIStub) -> None:
    """Nothing is sent, and the chat goes on."""
    await chat.prompt()
    chat.press(f"не надо{CTRL_C}")
    await chat.prompt()
    await chat.ask("надо")
    assert [each[-1] for each in model.inputs] == [("user", "надо")]


async def test_the_up_arrow_brings_back_lines_of_an_earlier_chat(
    chat: Terminal, home: dict[str, str], server: ServerProcess, line_history: Path
) -> None:
    """They are kept in a file that nobody else may read."""
    await chat.prompt()
    await chat.ask("Кто здесь? 谁")
    chat.press(CTRL_D)
    await chat.ended()
    with Terminal("-s", server.address, "chat", "-S", new_id(), env=home) as later:
        await later.prompt()
        later.press(UP + ENTER)
        await later.see("reply to: Кто здесь? 谁")

    assert stat.S_IMODE(line_history.stat().st_mode) == 0o600
    assert stat.S_IMODE(line_history.parent.stat().st_mode) == 0o700


async def test_the_history_of_lines_can_be_switched_off(
    home: dict[str, str], server: ServerProcess, model: OpenAIStub, line_history: Path
) -> None:
    """By an option or the environment; then it lasts as long as the chat, and no file is made."""
    off = {**home, "TURNKEEP_LINE_HISTORY": "0"}
    with Terminal("-s", server.address, "chat", env=off) as terminal:
        await terminal.prompt()
        await terminal.ask("тайна")
        terminal.press(UP + ENTER)
        await terminal.see("reply to: тайна")
    assert not line_history.exists()


async def test_two_slashes_send_a_text_that_begins_with_one(
    chat: Terminal, model: OpenAIStub
) -> None:
    """And a command that does not exist is named, and sent nowhere."""
    await chat.prompt()
    assert "/нет" in await chat.ask("/нет такой")
    await chat.ask("//etc/passwd — что это?")
    assert [each[-1] for each in model.inputs] == [("user", "/etc/passwd — что это?")]


async def test_usage_and_context_tell_of_the_last_turn(chat: Terminal, model: OpenAIStub) -> None:
    """Tokens of the last turn and of the chat; what of the history was sent."""
    model.count_tokens = len
    await chat.prompt()
    assert "no turn" in await chat.ask("/usage")
    assert "no turn" in await chat.ask("/context")
    await chat.ask("один")
    await chat.ask("два")
    usage = await chat.ask("/usage")
    last, total = (re.findall(r"\d+", line) for line in usage.splitlines())

    assert "2 messages of the history sent, 0 left out" in await chat.ask("/context")
    assert int(last[2]) == int(last[0]) + int(last[1])
    assert int(total[2]) > int(last[2])


async def test_history_shows_the_last_messages(chat: Terminal) -> None:
    """As many as asked for, the newest last."""
    await chat.prompt()
    await chat.ask("раз")
    await chat.ask("два")
    told = await chat.ask("/history 3")

    assert "reply to: раз" in told
    assert told.index("reply to: раз") < told.index("два") < told.index("reply to: два")
    assert "1 · user" not in told


async def test_the_session_can_be_changed(chat: Terminal, session: Session) -> None:
    """/session tells which it is; with an id the chat goes on there."""
    other = Session(session.turnkeep, user_id=session.user_id)
    await chat.prompt()
    assert session.id in await chat.ask("/session")
    await chat.ask(f"/session {other.id}")
    await chat.ask("там")

    assert not await session.everything()
    assert [each.text for each in await other.everything()] == ["там", "reply to: там"]


async def test_tab_completes_a_command(chat: Terminal) -> None:
    """As a shell does."""
    await chat.prompt()
    assert "session " in await chat.ask("/se\t")


async def test_help_names_every_command(chat: Terminal) -> None:
    """With what each does."""
    await chat.prompt()
    told = await chat.ask("/help")
    for name in ("/clear", "/history", "/usage", "/context", "/session", "/help", "//text"):
        assert name in told
