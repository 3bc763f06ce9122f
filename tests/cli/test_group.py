"""What all commands share: options of the connection, completion, and where they may run."""

import stat
from pathlib import Path

import pytest

from tests.cli.command import Turnkeep
from tests.rpc.session import Session

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_chat_is_for_a_terminal(command: Turnkeep) -> None:
    """In a pipe it names the command that is for one."""
    ended = await command("chat", stdin="Привет\n")
    assert ended.code == 2
    assert "turnkeep send" in ended.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_completion_prints_a_script_for_the_shell(command: Turnkeep, shell: str) -> None:
    """Named, or out of $SHELL."""
    named = await command("completion", shell)
    ended = await command("completion", SHELL=f"/usr/bin/{shell}")

    assert (named.code, ended.code) == (0, 0)
    assert named.stdout == ended.stdout
    assert f"_TURNKEEP_COMPLETE={shell}_complete" in named.stdout


async def test_a_shell_is_told_the_words(command: Turnkeep) -> None:
    """As its script asks for them."""
    asked = {"_TURNKEEP_COMPLETE": "bash_complete", "COMP_WORDS": "turnkeep se", "COMP_CWORD": "1"}
    ended = await command(**asked)
    assert ended.stdout.split() == ["plain,send", "plain,sessions"]


async def test_a_token_never_travels_in_the_clear_unasked(
    home: dict[str, str], tmp_path: Path
) -> None:
    """Out of the environment or a file; to another machine only by TLS, or said to be fine."""
    file = tmp_path / "токен"
    file.write_text("s3cret\n")
    command = Turnkeep(home)
    for ended in (
        await command("-s", "turnkeep.invalid:1", "sessions", TURNKEEP_TOKEN="s3cret"),
        await command("-s", "turnkeep.invalid:1", "--token-file", str(file), "sessions"),
    ):
        assert ended.code == 2
        assert "give --tls" in ended.stderr
        assert "s3cret" not in ended.stderr
    allowed = ("-s", "turnkeep.invalid:1", "--no-tls", "--token-file", str(file), "sessions")
    assert (await command(*allowed)).code == 3


@pytest.mark.parametrize("option", ["--token-file", "--ca-file"])
async def test_a_file_that_is_not_there_is_named(command: Turnkeep, option: str) -> None:
    """Exit code 2."""
    ended = await command(option, "нет-такого", "sessions")
    assert ended.code == 2
    assert "cannot read нет-такого" in ended.stderr


async def test_a_file_is_only_replaced_by_a_whole_one(
    command: Turnkeep, session: Session, tmp_path: Path
) -> None:
    """An export that fails leaves what was there."""
    path = tmp_path / "session.jsonl"
    path.write_text("как было")
    ended = await command("-s", "127.0.0.1:1", "export", "-S", session.id, "-o", str(path))

    assert ended.code == 3
    assert [each.name for each in tmp_path.iterdir()] == ["session.jsonl"]
    assert path.read_text() == "как было"
    assert stat.S_ISREG(path.stat().st_mode)
