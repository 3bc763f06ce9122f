"""`history`, `sessions`, `add`, `clear` and `preview`, in pipes and at a terminal."""

import asyncio

import pytest

from tests.cli.command import Turnkeep
from tests.cli.terminal import ENTER, Terminal
from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from tests.rpc.session import Session, new_id, texts

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_history_shows_messages_in_the_order_asked_for(
    command: Turnkeep, session: Session
) -> None:
    """One JSON document a line; --limit counts in that order."""
    for text in ("раз", "二", "ثلاثة"):
        await session.chat(text)
    oldest = await command("history", "-S", session.id, "--json")
    newest = await command("history", "-S", session.id, "--newest-first", "--limit", "1", "--json")
    plain = await command("history", "-S", session.id)

    assert [each["text"] for each in oldest.lines][::2] == ["раз", "二", "ثلاثة"]
    assert {each["sequence"] for each in oldest.lines} == {1, 2, 3}
    assert [each["text"] for each in newest.lines] == ["reply to: ثلاثة"]
    assert "\nreply to: 二\n" in plain.stdout
    assert "\x1b" not in plain.stdout


async def test_unfinished_turns_are_shown_if_asked_for(
    command: Turnkeep, session: Session, model: OpenAIStub
) -> None:
    """With their status."""
    model.faults.append(Fault.QUOTA)
    await error_of(session.chat("дорого"))

    assert not (await command("history", "-S", session.id)).stdout
    assert "user" in (shown := (await command("history", "-S", session.id, "--unfinished")).stdout)
    assert "failed" in shown.splitlines()[0]


async def test_sessions_lists_a_users_sessions(
    command: Turnkeep, session: Session, home: dict[str, str], server: ServerProcess
) -> None:
    """As JSON lines, with tabs in a pipe, as a table at a terminal."""
    user = new_id("u")
    other = Session(session.turnkeep, user_id=user)
    await other.chat("Привет")
    # The listing is at most a second behind.
    async with asyncio.timeout(5):
        while not (listed := (await command("sessions", "--user", user, "--json")).lines):
            pass
    piped = await command("sessions", "--user", user)
    with Terminal("-s", server.address, "sessions", "-u", user, env=home) as terminal:
        assert "messages" in await terminal.see(other.id)
        assert await terminal.ended() == 0

    assert [(each["session_id"], each["message_count"]) for each in listed] == [(other.id, 2)]
    assert piped.stdout.split("\t")[:2] == [other.id, "2"]


async def test_add_appends_one_message_from_the_arguments(
    command: Turnkeep, session: Session, model: OpenAIStub
) -> None:
    """Of the role given, without asking the model."""
    ended = await command("add", "-S", session.id, "--role", "assistant", "Добрый день! 🌞")

    assert (ended.code, ended.stdout) == (0, "added 1 message as turn 1\n")
    assert texts(await session.messages()) == [("assistant", "Добрый день! 🌞")]
    assert not model.calls


async def test_add_appends_messages_from_stdin_as_one_turn(
    command: Turnkeep, session: Session
) -> None:
    """A JSON document a line; "content" will do for "text". The same request_id adds them once."""
    question = '{"role": "user", "content": "Сколько?\\u2028"}'
    lines = [question, "", '{"role": "assistant", "text": "二"}']
    arguments = ("add", "-S", session.id, "--json", "--request-id", "r-7", "-")
    first = await command(*arguments, stdin="\n".join(lines))
    again = await command(*arguments, stdin="\n".join(lines))

    assert first.document["sequence"] == 1
    assert {**first.document, "replayed": True} == again.document
    assert texts(await session.messages()) == [("user", "Сколько?\u2028"), ("assistant", "二")]


async def test_a_line_that_is_no_message_is_named(command: Turnkeep, session: Session) -> None:
    """By its number, and nothing is added."""
    ended = await command("add", "-S", session.id, "-", stdin='{"text": "Привет"}\n{"txt": "x"}\n')

    assert ended.code == 2
    assert "stdin, line 2: a message has no field 'txt'" in ended.stderr
    assert not await session.everything()


async def test_clear_forgets_a_session(command: Turnkeep, session: Session) -> None:
    """Without anybody to ask only with --yes."""
    await session.chat("Привет")
    refused = await command("clear", "-S", session.id)
    cleared = await command("clear", "-S", session.id, "--yes", "--json")

    assert refused.code == 2
    assert "--yes" in refused.stderr
    assert cleared.document == {"cleared_messages": 2, "cleared_turns": 1}
    assert not await session.messages()


async def test_clear_asks_at_a_terminal(
    session: Session, home: dict[str, str], server: ServerProcess
) -> None:
    """No is 130, as ctrl-C is; yes does it."""
    await session.chat("Привет")
    arguments = ("-s", server.address, "clear", "-S", session.id, "-u", session.user_id)
    for answer, code in (("n", 130), ("y", 0)):
        assert len(await session.messages()) == 2
        with Terminal(*arguments, env=home) as terminal:
            await terminal.see("[y/N]")
            terminal.press(answer + ENTER)
            assert await terminal.ended() == code
    assert not await session.messages()


async def test_preview_shows_what_the_model_would_be_sent(
    command: Turnkeep, session: Session, model: OpenAIStub
) -> None:
    """System text, history, question; the model is not asked."""
    await session.chat("раз")
    ended = await command("preview", "-S", session.id, "два")
    as_json = await command("preview", "-S", session.id, "--json", "два")

    assert [each["role"] for each in as_json.document["messages"]] == [
        *("system", "user", "assistant", "user")
    ]
    assert as_json.document["context"]["included_messages"] == 2
    assert "2 messages of the history sent" in ended.stdout.splitlines()[-1]
    assert len(model.calls) == 1
