"""The server and the model of the rpc tests, for the command `turnkeep`, run as a child process."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Turnkeep
from tests.cli.terminal import Terminal
from tests.kit.server_process import ServerProcess
from tests.rpc.conftest import environment, model, provider, server, session, turnkeep
from tests.rpc.session import Session

__all__ = ["environment", "model", "provider", "server", "session", "turnkeep"]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """The environment of a person with a home of their own and no settings."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "PYTHONWARNINGS": "error",
    }


@pytest.fixture
def command(server: ServerProcess, home: dict[str, str], session: Session) -> Turnkeep:
    """The command, set to the shared server and the test's own user."""
    settings = {"TURNKEEP_SERVER": server.address, "TURNKEEP_USER": session.user_id}
    return Turnkeep({**home, **settings})


@pytest.fixture
def chat(server: ServerProcess, home: dict[str, str], session: Session) -> Iterator[Terminal]:
    """`turnkeep chat` at a terminal, in the test's own session."""
    arguments = ("--session", session.id, "--user", session.user_id)
    with Terminal("--server", server.address, "chat", *arguments, env=home) as terminal:
        yield terminal
