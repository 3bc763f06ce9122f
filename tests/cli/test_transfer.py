"""`turnkeep export` and `turnkeep import`: a session as JSON lines, there and back."""

import json
import stat
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cli.command import Turnkeep
from tests.cli.terminal import Terminal
from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.kit.status import error_of
from tests.rpc.session import Session, message
from turnkeep.v1 import conversation_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def rich_session(session: Session) -> Session:
    """A session with all that a message can hold, in turns of several messages."""
    await session.chat("Привет\u2028две строки")
    call = pb.ToolCall(id="c-1", name="погода", arguments_json='{"город": "北京"}')
    await session.add(
        message("user", "Какая погода?", name="Виктор", metadata={"от": "телефон 📱", "a.b": "$"}),
        message("assistant", tool_calls=[call]),
        message("tool", "", tool_call_id="c-1"),
        message("assistant", "ثلج ❄️"),
    )
    image = pb.ContentPart(image_url="https://example.org/кот.png")
    file = pb.ContentPart(file=pb.File(name="a.pdf", media_type="application/pdf", data=b"\0\xff"))
    await session.add(message("user", parts=[pb.ContentPart(text="смотри"), image, file]))
    return session


def _bare(messages: list[pb.Message]) -> list[pb.Message]:
    """Without what the service gives a message anew."""
    for each in messages:
        each.ClearField("id")
        each.ClearField("create_time")
    return messages


async def test_a_session_comes_back_as_it_was(
    command: Turnkeep, rich_session: Session, model: OpenAIStub, tmp_path: Path
) -> None:
    """Message for message, turn for turn; and import is 0 turns the second time."""
    path = tmp_path / "сессия.jsonl"
    exported = await command("export", "-S", rich_session.id, "--output", str(path))
    other = Session(rich_session.turnkeep, user_id=rich_session.user_id)
    first = await command("import", "-S", other.id, str(path))
    again = await command("import", "-S", other.id, str(path), "--json")

    assert (exported.code, exported.stdout) == (0, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first.stdout == "3 turns added, 0 there already\n"
    assert again.document == {"turns": 0, "there_already": 3, "unfinished_left_out": 0}
    assert _bare(await other.messages()) == _bare(await rich_session.messages())


async def test_an_import_that_broke_off_is_run_again(
    command: Turnkeep, rich_session: Session, model: OpenAIStub
) -> None:
    """What was in is not added twice: the part comes first, then the whole; by stdin too."""
    lines = (await command("export", "-S", rich_session.id)).stdout
    part = "\n".join(lines.split("\n")[:2])
    other = Session(rich_session.turnkeep, user_id=rich_session.user_id)
    await command("import", "-S", other.id, "-", stdin=part)
    whole = await command("import", "-S", other.id, "-", stdin=lines)

    assert whole.stdout == "2 turns added, 1 there already\n"
    assert _bare(await other.messages()) == _bare(await rich_session.messages())


async def test_a_turn_that_is_refused_is_named_by_its_line(
    command: Turnkeep, session: Session, model: OpenAIStub
) -> None:
    """Those before it are in; once it is mended, the same command does the rest."""
    nameless = json.dumps({"text": "два", "name": "и" * 129})
    lines = ['{"text": "один"}', nameless, '{"text": "три"}']
    broken = await command("import", "-S", session.id, "-", stdin="\n".join(lines))
    lines[1] = '{"text": "два"}'
    mended = await command("import", "-S", session.id, "-", stdin="\n".join(lines))

    assert broken.code == 1
    assert "line 2 of -" in broken.stderr
    assert mended.stdout == "2 turns added, 1 there already\n"
    assert [each.text for each in await session.messages()] == ["один", "два", "три"]


async def test_unfinished_turns_are_exported_if_asked_for_and_never_imported(
    command: Turnkeep, session: Session, model: OpenAIStub
) -> None:
    """Added, they would count as complete."""
    await session.chat("вышло")
    model.faults.append(Fault.QUOTA)
    await error_of(session.chat("не вышло"))
    lines = (await command("export", "-S", session.id, "--unfinished")).stdout
    other = Session(session.turnkeep, user_id=session.user_id)
    ended = await command("import", "-S", other.id, "-", stdin=lines)

    assert [json.loads(each)["status"] for each in lines.split("\n")[:-1]] == [
        *("completed", "completed", "failed")
    ]
    assert ended.stdout == "1 turn added, 0 there already, 1 message of unfinished turns left out\n"
    assert len(await other.messages()) == 2


async def test_a_reader_of_an_export_may_go_away(command: Turnkeep, session: Session) -> None:
    """As `head` does; quiet, though all of it fits into one write."""
    await session.chat("Привет")
    process = await command.started("export", "-S", session.id)
    assert process.stdout is not None
    process.stdout._transport.close()  # type: ignore[attr-defined]  # before anything is written
    _, stderr = await process.communicate()

    assert (process.returncode, stderr) == (141, b"")


async def test_progress_is_shown_at_a_terminal(
    session: Session, home: dict[str, str], server: ServerProcess, tmp_path: Path
) -> None:
    """A bar on stderr, which is gone at the end."""
    path = tmp_path / "messages.jsonl"
    path.write_text("".join(f'{{"text": "сообщение {n}"}}\n' for n in range(50)))
    arguments = ("-s", server.address, "import", "-S", session.id, str(path))
    with Terminal(*arguments, env=home) as terminal:
        await terminal.see("/50")
        await terminal.see("50 turns added, 0 there already")
        assert await terminal.ended() == 0
