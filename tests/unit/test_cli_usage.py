"""How the command `turnkeep` is asked for: help, options, completion, and what is refused."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from turnkeep.cli import REQUIRED
from turnkeep.cli.group import turnkeep
from turnkeep_server.setting_variables import CLIENT_VARIABLES


def _run(
    *arguments: str, stdin: bytes = b"", env: Mapping[str, str | None] | None = None
) -> Result:
    nothing_set: dict[str, str | None] = dict.fromkeys(CLIENT_VARIABLES)
    return CliRunner().invoke(turnkeep, arguments, input=stdin, env={**nothing_set, **(env or {})})


def _variables() -> set[str]:
    commands = [turnkeep, *turnkeep.commands.values()]
    named = [each.envvar for command in commands for each in command.params]
    return {each for each in named if isinstance(each, str)}


def test_the_server_knows_every_variable_of_the_client() -> None:
    """So that it warns of none of them; TURNKEEP_TOKEN is read without an option."""
    assert _variables() | {"TURNKEEP_TOKEN"} == CLIENT_VARIABLES


@pytest.mark.parametrize("name", ["", *turnkeep.commands])
def test_every_command_describes_itself(name: str) -> None:
    ended = CliRunner().invoke(turnkeep, [name, "--help"] if name else ["--help"])
    assert ended.exit_code == 0
    assert ended.output.startswith("Usage: ")
    assert all(len(line) <= 100 for line in ended.output.splitlines())


def test_help_tells_the_exit_codes() -> None:
    ended = CliRunner().invoke(turnkeep, ["--help"])
    told = " ".join(ended.output.split())
    for each in ("0 done", "1 failed", "2 wrong usage", "3 nobody could answer", "130 ctrl-C"):
        assert each in told


@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        ("turnkeep", {"turnkeep.cli", "click", "rich", "prompt_toolkit", "grpc_health.v1"}),
        ("turnkeep.cli.group", {"rich", "prompt_toolkit", "grpc_health.v1"}),
    ],
)
def test_nothing_is_imported_before_it_is_needed(module: str, unneeded: set[str]) -> None:
    """The library stays as light as it is without the command, and --help is quick."""
    listing = f"import {module}, sys; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True
    )
    assert not unneeded & {*ended.stdout.split()}


def test_without_the_extra_the_command_says_how_to_install_it() -> None:
    """In the words that can be pasted, and no trace of Python."""
    hide = (
        "import sys, importlib.util as u; find = u.find_spec; "
        "u.find_spec = lambda name, *a: None if name == 'rich' else find(name, *a); "
        "from turnkeep.cli import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", hide], capture_output=True, text=True, check=False, env=os.environ
    )
    assert "rich" in REQUIRED
    assert ended.returncode == 1
    assert 'pip install "turnkeep-client[cli]"' in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ("send -S 7 - <&-", 2, "the text is empty"),
        ("clear -S 7 <&-", 2, "--yes"),
        ("-s 127.0.0.1:1 --timeout 1 doctor >&-", 1, ""),
        ("completion bash >/dev/full", 1, "turnkeep: no space left on device"),
    ],
)
def test_a_stream_that_is_closed_or_full_is_no_trace_of_python(
    arguments: str, code: int, told: str
) -> None:
    line = f'"{sys.executable}" -m turnkeep.cli {arguments}'
    nobody = {each: text for each, text in os.environ.items() if each not in CLIENT_VARIABLES}
    ended = subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, check=False, env=nobody
    )
    assert ended.returncode == code
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "told"),
    [
        (("send", "-S", "7", "-"), b"\xd0\xbf\n\xff\xfe", "stdin is no UTF-8 text, from line 2"),
        (("send", "-S", "7", "\udcff"), b"", "no UTF-8"),
        (("send", "-S", "7", "-"), b"  \n", "empty"),
        (("send", "Привет"), b"", "--session"),
        (("send", "-S", "7", "--var", "topic", "x"), b"", "NAME=TEXT"),
        (("add", "-S", "7", "--role", "user", "-"), b"{}", "--role is for a TEXT"),
        (("add", "-S", "7", "-"), b"", "stdin is empty"),
        (("clear", "-S", "7"), b"y\n", "--yes"),
        (("import", "-S", "7", "нет-такого"), b"", "cannot read нет-такого"),
        (("--token-file", "нет-такого", "sessions"), b"", "cannot read нет-такого"),
        (("--ca-file", "нет-такого", "sessions"), b"", "cannot read нет-такого"),
        (("--ca-file", "x", "--no-tls", "sessions"), b"", "one of them"),
        (("--certificate-file", "x", "sessions"), b"", "go together"),
        (("--certificate-key-file", "x", "sessions"), b"", "go together"),
        (("--timeout", "0", "sessions"), b"", "--timeout"),
        (("-s", "", "sessions"), b"", "--server is empty"),
        (("-s", "http://127.0.0.1:1", "sessions"), b"", "without http://"),
        (("-s", "127.0.0.1:65537", "sessions"), b"", "no port 65537"),
        (("нет-такой",), b"", "нет-такой"),
    ],
)
def test_a_wrong_use_is_exit_code_2(arguments: tuple[str, ...], stdin: bytes, told: str) -> None:
    """In words, and as JSON where that is asked for."""
    ended = _run(*arguments, stdin=stdin)
    as_json = _run(*arguments, "--json", stdin=stdin)

    assert (ended.exit_code, ended.stdout, as_json.exit_code, as_json.stdout) == (2, "", 2, "")
    assert told in ended.stderr
    assert told in json.loads(as_json.stderr)["error"]["message"]


def test_chat_is_for_a_terminal() -> None:
    """In a pipe it names the command that is for one."""
    ended = _run("chat", stdin=b"Hi\n")
    assert ended.exit_code == 2
    assert "turnkeep send" in ended.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str) -> None:
    """Named, or out of $SHELL."""
    named = _run("completion", shell)
    ended = _run("completion", env={"SHELL": f"/usr/bin/{shell}"})

    assert (named.exit_code, ended.exit_code) == (0, 0)
    assert named.stdout == ended.stdout
    assert f"_TURNKEEP_COMPLETE={shell}_complete" in named.stdout


def test_a_shell_completes_the_file_to_import() -> None:
    """By itself: it is only told that a file is meant."""
    words = {"COMP_WORDS": "turnkeep import -S 7 за", "COMP_CWORD": "4"}
    asked = {"_TURNKEEP_COMPLETE": "bash_complete", **words}
    ended = CliRunner().invoke(turnkeep, prog_name="turnkeep", env=asked)
    assert ended.stdout == "file,за\n"


def test_a_token_never_travels_in_the_clear_unasked(tmp_path: Path) -> None:
    """Out of the environment or a file; to another machine only by TLS, or said to be fine."""
    file = tmp_path / "токен"
    file.write_text("s3cret\n")
    arguments = ("-s", "turnkeep.invalid:1", "--timeout", "1")
    for ended in (
        _run(*arguments, "sessions", env={"TURNKEEP_TOKEN": "s3cret"}),
        _run(*arguments, "--token-file", str(file), "sessions"),
        _run(*arguments, "doctor", env={"TURNKEEP_TOKEN": "s3cret"}),
    ):
        assert ended.exit_code == 2
        assert "give --tls" in ended.stderr
        assert "s3cret" not in ended.output
    allowed = _run(*arguments, "--no-tls", "--token-file", str(file), "sessions")
    assert allowed.exit_code == 3
