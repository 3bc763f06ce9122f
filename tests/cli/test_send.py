"""`turnkeep send`: one turn, in pipes and scripts."""

import asyncio
import signal

import pytest

from tests.cli.command import Turnkeep
from tests.cli.terminal import Terminal
from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.ports import free_port
from tests.kit.server_process import ServerProcess
from tests.rpc.session import Session, texts
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOTES = "Заметки 笔记 ملاحظات 📝\n\tвторая строка\n"


@pytest.mark.parametrize(
    ("arguments", "stdin", "sent"),
    [
        (("Привет,", "мир"), "", "Привет, мир"),
        (("-",), NOTES, NOTES.strip()),
        ((), NOTES, NOTES.strip()),
        (("Summarise:", "-"), NOTES, f"Summarise:\n\n{NOTES.strip()}"),
        # A loop that reads lines must not lose them to a command in it.
        (("Кто там?",), "следующая строка\n", "Кто там?"),
    ],
)
async def test_what_is_sent(
    command: Turnkeep,
    session: Session,
    model: OpenAIStub,
    arguments: tuple[str, ...],
    stdin: str,
    sent: str,
) -> None:
    """Words, stdin where "-" stands, or stdin alone; and the reply on stdout, with a line's end."""
    ended = await command("send", "--session", session.id, *arguments, stdin=stdin)

    assert (ended.code, ended.stderr) == (0, "")
    assert model.inputs[0][-1] == ("user", sent)
    assert ended.stdout == f"reply to: {sent}\n"


async def test_the_reply_comes_as_it_is_made(
    command: Turnkeep, session: Session, model: OpenAIStub
) -> None:
    """Through a pipe too; ctrl-C then ends the turn, which keeps what came, and the exit is 130."""
    model.faults.append(Fault.HANG_MID_STREAM)
    process = await command.started("send", "--session", session.id, "Расскажи историю")
    assert process.stdout is not None
    async with asyncio.timeout(20):
        came = "reply to: Ра".encode()
        assert await process.stdout.readexactly(len(came)) == came
        process.send_signal(signal.SIGINT)
        rest, stderr = await process.communicate()
        await model.calls[0].ended()
        kept = await session.ended_turn()

    assert process.returncode == 130
    assert rest == b"\n"
    assert b"Traceback" not in stderr
    assert texts(kept) == [("user", "Расскажи историю"), ("assistant", "reply to: Ра")]
    assert kept[1].status == pb.TURN_STATUS_CANCELLED


async def test_json_tells_all_of_the_turn(
    command: Turnkeep, session: Session, model: OpenAIStub
) -> None:
    """One document; the same request_id again gives the same turn."""
    arguments = ("send", "-S", session.id, "--request-id", "r-1", "--json", "--model", "gpt-4o")
    first = await command(*arguments, "你好")
    again = await command(*arguments, "你好")

    assert first.code == 0
    assert first.document["text"] == "reply to: 你好"
    assert first.document["model"] == model.calls[0].body["model"] == "gpt-4o"
    assert {**first.document, "replayed": True} == again.document
    assert len(model.calls) == 1


async def test_a_failure_is_a_line_on_stderr_and_an_exit_code(
    command: Turnkeep, session: Session, model: OpenAIStub
) -> None:
    """1: it would fail again. With the reason, and what to do."""
    refused = await command("send", "-S", session.id, "--prompt", "none", "Привет")
    as_json = await command("send", "-S", session.id, "--prompt", "none", "Привет", "--json")

    assert (refused.code, refused.stdout, as_json.code, as_json.stdout) == (1, "", 1, "")
    assert refused.stderr.startswith("turnkeep: UNKNOWN_PROMPT: ")
    assert refused.stderr.count("\n") == 1
    assert as_json.error["code"] == "INVALID_ARGUMENT"
    assert as_json.error["reason"] == "UNKNOWN_PROMPT"
    assert "--prompt" in as_json.error["remedy"]


async def test_a_server_that_is_not_there_is_said_soon(home: dict[str, str]) -> None:
    """3: try later. In seconds, not when the time of the call is up."""
    command = Turnkeep(home)
    began = asyncio.get_running_loop().time()
    ended = await command("-s", f"127.0.0.1:{free_port()}", "send", "-S", "7", "Ау?")

    assert ended.code == 3
    assert "no answer from 127.0.0.1" in ended.stderr
    assert "--request-id is" in ended.stderr
    assert asyncio.get_running_loop().time() - began < 5


async def test_bytes_that_are_no_text_are_refused(command: Turnkeep, session: Session) -> None:
    """With the place where they are: a text with holes would be kept for good. Nothing is sent."""
    ended = await command("send", "-S", session.id, "-", stdin="да\n".encode() + b"\xff\xfe")

    assert (ended.code, ended.stdout) == (2, "")
    assert "stdin is no UTF-8 text, from line 2 on (byte 5)" in ended.stderr
    assert not await session.everything()


async def test_a_terminal_is_not_written_to_but_text(
    home: dict[str, str], server: ServerProcess, session: Session, model: OpenAIStub
) -> None:
    """Escapes of a model are shown on a terminal; a pipe gets them as they are."""
    model.reply = lambda _: "\x1b[31mкрасный"
    arguments = ("-s", server.address, "send", "-S", session.id, "цвет?")
    piped = await Turnkeep(home)(*arguments)
    with Terminal(*arguments, env=home) as terminal:
        await terminal.see("␛[31mкрасный")
        assert await terminal.ended() == 0
    assert piped.stdout == "\x1b[31mкрасный\n"


async def test_a_reader_that_goes_away_is_no_error(
    command: Turnkeep, session: Session, model: OpenAIStub
) -> None:
    """Quiet, with the exit code that a shell gives for SIGPIPE; the turn is cancelled."""
    model.deltas = lambda text: [*text]
    model.delta_delay_seconds = 0.01
    process = await command.started("send", "-S", session.id, "Расскажи " + "очень " * 40)
    assert process.stdout is not None
    async with asyncio.timeout(20):
        await process.stdout.readexactly(2)
        process.stdout._transport.close()  # type: ignore[attr-defined]  # as `head -c 2` does
        assert process.stderr is not None
        assert await process.stderr.read() == b""
        assert await process.wait() == 141


async def test_variables_fill_the_prompt(
    command: Turnkeep, session: Session, model: OpenAIStub
) -> None:
    """--prompt and --var, as the source program's {topic}."""
    arguments = ("send", "-S", session.id, "--prompt", "expert", "--var", "topic=дроби = ½")
    ended = await command(*arguments, "Что это?")

    assert (ended.code, ended.stderr) == (0, "")
    assert "дроби = ½" in model.inputs[0][0][1]
