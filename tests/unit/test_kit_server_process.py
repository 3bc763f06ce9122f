"""The server's process, shown with a stand-in for the package that it runs."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.kit.server_process import ServerProcess

SERVER = """
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print(json.dumps(dict(os.environ)), file=sys.stderr, flush=True)
print("serving on 127.0.0.1:54321, history memory://, model parrot", flush=True)
while True:
    time.sleep(0.01)
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment in which `turnkeep_server` is the stand-in."""
    (tmp_path / "turnkeep_server.py").write_text(SERVER)
    return {"PYTHONPATH": str(tmp_path), "TURNKEEP_MODEL": "parrot"}


async def test_a_server_says_its_address_and_gets_the_environment_it_was_given(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not for the child")
    async with ServerProcess(env) as server:
        assert server.address == "127.0.0.1:54321"
        assert "model parrot" in server.line
        server.terminate()
        assert await server.wait() == 0

    seen = json.loads(server.log[0])
    assert seen["TURNKEEP_LISTEN"] == "127.0.0.1:0"
    assert seen["TURNKEEP_MODEL"] == "parrot"
    assert seen["PATH"] == os.environ["PATH"]
    assert "OPENAI_API_KEY" not in seen


async def test_a_killed_server_is_gone(env: dict[str, str]) -> None:
    async with ServerProcess(env) as server:
        server.kill()
        assert await server.wait() == -signal.SIGKILL


async def test_a_server_is_gone_when_its_block_is_left(env: dict[str, str]) -> None:
    async with ServerProcess(env) as server:
        pid = server.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_server_that_fails_to_start_says_why(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "turnkeep_server.py").write_text("raise SystemExit('TURNKEEP_MODEL is not set')")
    with pytest.raises(RuntimeError, match=r"(?s)exited with 1.*TURNKEEP_MODEL is not set"):
        async with ServerProcess(env):
            pass


async def test_a_line_is_in_the_log_once_it_is_whole(env: dict[str, str], tmp_path: Path) -> None:
    log = '"你好\u2028"\n{"event": '
    (tmp_path / "turnkeep_server.py").write_text(
        SERVER.replace("json.dumps(dict(os.environ)), file", f"{log!r}, end='', file")
    )
    async with ServerProcess({**env, "PYTHONUTF8": "1"}) as server:
        assert server.log == ['"你好\u2028"']
    assert server.log == ['"你好\u2028"', '{"event": ']
