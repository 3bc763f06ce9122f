"""What all commands share, in a real process: completion, and files that are whole or not there."""

from pathlib import Path

import pytest

from tests.cli.command import Turnkeep
from tests.rpc.session import Session

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_shell_is_told_the_words(command: Turnkeep) -> None:
    """As its completion script asks for them."""
    asked = {"_TURNKEEP_COMPLETE": "bash_complete", "COMP_WORDS": "turnkeep se", "COMP_CWORD": "1"}
    ended = await command(**asked)
    assert ended.stdout.split() == ["plain,send", "plain,sessions"]


async def test_a_file_is_only_replaced_by_a_whole_one(
    command: Turnkeep, session: Session, tmp_path: Path
) -> None:
    """An export that fails leaves what was there, and nothing beside it."""
    path = tmp_path / "session.jsonl"
    path.write_text("как было")
    ended = await command("-s", "127.0.0.1:1", "export", "-S", session.id, "-o", str(path))

    assert ended.code == 3
    assert [each.name for each in tmp_path.iterdir()] == ["session.jsonl"]
    assert path.read_text() == "как было"
