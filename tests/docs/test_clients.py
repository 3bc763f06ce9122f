"""The Python code of docs/clients.md and its sample program: they run, and they type-check."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import turnkeep
from tests.docs.snippets import ROOT, run, snippets
from tests.kit.server_process import ServerProcess

pytestmark = [pytest.mark.asyncio(loop_scope="session")]
SAMPLE = ROOT / "examples" / "python_client.py"
PROGRAM, *REST = snippets("docs/clients.md", "python")


async def test_the_python_code_of_the_clients_page_runs_from_top_to_bottom(
    server: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    address = server.address
    assert len(REST) >= 7
    await ran_alone(PROGRAM[1].replace("127.0.0.1:50051", address))
    async with turnkeep.ConversationClient(address) as client:
        session = client.session("42", user_id="victor")
        names: dict[str, Any] = {"client": client, "session": session}
        names |= {"asyncio": asyncio, "ConversationClient": turnkeep.ConversationClient}
        for line, code in REST:
            code_here = code.replace("127.0.0.1:50051", address)
            if "turnkeep.sync" in code:  # it would block this loop, on which the model answers
                await ran_alone(code_here)
            else:
                await run("docs/clients.md", line, code_here, names)

    said = capsys.readouterr().out
    assert "3 assistant Запомнил" in said
    assert "UNKNOWN_PROMPT default, expert" in said


@pytest.mark.parametrize("page", ["client/README.md"])
async def test_the_python_code_of_the_client_s_readme_runs(
    server: ServerProcess, page: str
) -> None:
    programs = [code for _, code in snippets(page, "python")]
    assert programs
    for program in programs:
        await ran_alone(program.replace("127.0.0.1:50051", server.address))


async def test_the_sample_program_does_what_it_says(server: ServerProcess) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", SAMPLE, server.address), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    lines = said.decode().splitlines()

    assert process.returncode == 0
    assert lines[0].startswith("2 reply to: Как меня зовут?")
    assert lines[1] == "reply to: Где я живу? 🙂"
    assert lines[2] == "SEQUENCE_MISMATCH at 3"
    assert [line.split()[:2] for line in lines[3:-1]] == [
        *(["1", "system"], ["1", "system"]),
        *(["2", "user"], ["2", "assistant"]),
        *(["3", "user"], ["3", "assistant"]),
    ]
    assert lines[-1] == "6 messages forgotten"


async def test_a_caller_s_program_passes_mypy_strict(tmp_path: Path) -> None:
    """As a caller runs it: by the installed package and its py.typed, none of our settings."""
    program = tmp_path / "program.py"
    program.write_text(SAMPLE.read_text())
    assert "type: ignore" not in program.read_text()
    checked = await asyncio.to_thread(mypy, program)
    assert checked.returncode == 0, checked.stdout

    program.write_text(SAMPLE.read_text().replace("[each async for", "[each.txet async for"))
    checked = await asyncio.to_thread(mypy, program)
    assert 'has no attribute "txet"' in checked.stdout


def mypy(program: Path) -> "subprocess.CompletedProcess[str]":
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", program.name],
        check=False,
        cwd=program.parent,
        env=environment,
        capture_output=True,
        text=True,
    )


async def ran_alone(program: str) -> str:
    """What a program of its own printed; AssertionError if it fails."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", program),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, error.decode()
    return out.decode()
