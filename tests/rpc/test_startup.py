"""How a server starts, and how it says why it does not."""

import asyncio
import re
from pathlib import Path

import pytest
import pytest_asyncio

from tests.kit.server_process import ServerProcess
from tests.rpc.command import Ended, turnkeep_server
from tests.rpc.session import Session
from turnkeep_server.setting_variables import described_settings

pytestmark = pytest.mark.asyncio(loop_scope="session")

GOOD = {
    "TURNKEEP_LISTEN": "127.0.0.1:0",
    "TURNKEEP_HISTORY_URL": "memory://",
    "TURNKEEP_MODEL": "parrot",
}
# Setting → its bad value. Each alone, all else good.
BAD = [
    *(
        ("TURNKEEP_HISTORY_URL", f"mongodb://db.invalid/turnkeep?{option}")
        for option in ("w=1", "journal=false", "readPreference=secondary", "retryWrites=false")
    ),
    ("TURNKEEP_HISTORY_URL", "http://db.invalid"),
    ("TURNKEEP_HISTORY_URL", "db.invalid:27017"),
    ("TURNKEEP_HISTORY_URL", "mongodb://user:p@ss:word@db.invalid"),
    ("TURNKEEP_LISTEN", "nonsense"),
    ("TURNKEEP_LISTEN", "127.0.0.1"),
    ("TURNKEEP_LISTEN", "127.0.0.1:99999"),
    ("TURNKEEP_LISTEN", ""),
    ("TURNKEEP_MAX_MESSAGES", "-1"),
    ("TURNKEEP_LEASE_SECONDS", "0"),
    ("TURNKEEP_LEASE_SECONDS", "inf"),
    ("TURNKEEP_LOG_LEVEL", "loud"),
    ("TURNKEEP_PROMPTS_FILE", "нет/такого.yaml"),
    ("TURNKEEP_PROMPTS_FILE", "/"),
]

BAD_PROMPTS = """\
default:
  system: |
    КАНАРЕЙКА {
  options:
    temperature: КАНАРЕЙКА
    model: gpt-9
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def attempts() -> dict[tuple[str, str], Ended | BaseException]:
    """How a server ended with each bad setting; started a few at a time, to save seconds."""
    room = asyncio.Semaphore(2)

    async def attempt(variable: str, value: str) -> Ended:
        async with room:
            return await turnkeep_server(env={**GOOD, variable: value})

    ended = await asyncio.gather(*(attempt(*each) for each in BAD), return_exceptions=True)
    return dict(zip(BAD, ended, strict=True))


@pytest.mark.parametrize(("variable", "value"), BAD)
async def test_a_bad_setting_is_named(
    attempts: dict[tuple[str, str], Ended], variable: str, value: str
) -> None:
    """Exit 2, before anything is dialled; the message names the variable, and no traceback."""
    ended = attempts[variable, value]
    assert isinstance(ended, Ended), "it went on, and served"

    assert ended.code == 2
    assert variable in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


async def test_all_bad_settings_are_named_at_once() -> None:
    """One start tells all that is to be mended."""
    bad = {"TURNKEEP_MAX_MESSAGES": "x", "TURNKEEP_LEASE_SECONDS": "y", "TURNKEEP_LOG_FORMAT": "z"}
    ended = await turnkeep_server(env={**GOOD, **bad})

    assert ended.code == 2
    assert all(each in ended.stderr for each in bad)


async def test_a_bad_url_is_not_quoted() -> None:
    """What cannot be read may hold a password."""
    url = "mongodb://user:canary%ZZ@word@db.invalid/?w=1"
    ended = await turnkeep_server(env={**GOOD, "TURNKEEP_HISTORY_URL": url})

    assert ended.code == 2
    assert "canary" not in ended.stderr


async def test_every_mistake_of_the_prompts_file_is_told_with_its_line(tmp_path: Path) -> None:
    """Exit 2, before the database is dialled; no prompt's text is quoted."""
    file = tmp_path / "промпты.yaml"
    file.write_text(BAD_PROMPTS)
    dead = "mongodb://127.0.0.1:1/x"
    bad = {"TURNKEEP_PROMPTS_FILE": str(file), "TURNKEEP_HISTORY_URL": dead}
    ended = await turnkeep_server(env={**GOOD, **bad})

    assert ended.code == 2
    assert "TURNKEEP_PROMPTS_FILE" in ended.stderr
    assert [line for line in range(1, 20) if f"{file}:{line}: " in ended.stderr] == [3, 5, 6]
    assert "КАНАРЕЙКА" not in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


async def test_without_a_key_there_is_no_server() -> None:
    """A model that needs a key is never replaced by a parrot: exit 2, with the ways out."""
    ended = await turnkeep_server(env={**GOOD, "TURNKEEP_MODEL": "gpt-4o-mini"})

    assert ended.code == 2
    assert "OPENAI_API_KEY" in ended.stderr
    assert "TURNKEEP_MODEL=parrot" in ended.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
async def test_a_second_server_on_a_taken_port_is_refused(server: ServerProcess, host: str) -> None:
    """Exit 1 with the address and the way out, not two servers that share callers in silence."""
    listen = f"{host}:{server.address.rpartition(':')[2]}"
    settings = {"TURNKEEP_LISTEN": listen, "TURNKEEP_INSECURE": "1"}
    ended = await turnkeep_server(env={**GOOD, **settings})

    assert ended.code == 1
    assert listen in ended.stderr
    assert "TURNKEEP_LISTEN" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_second_server_on_a_taken_unix_socket_is_refused(tmp_path: Path) -> None:
    """Nor is the socket taken away from the first one; what a killed server left is in no way."""
    listen = f"unix:{tmp_path}/s"
    line = re.compile(re.escape(listen))
    first = ServerProcess({**GOOD, "TURNKEEP_LISTEN": listen}, address=line)
    async with first:
        ended = await turnkeep_server(env={**GOOD, "TURNKEEP_LISTEN": listen})
        assert ended.code == 1
        assert "taken by another server" in ended.stderr
        assert (await Session(first.stub()[1]).chat("Привет")).sequence == 1
        first.kill()
        async with ServerProcess({**GOOD, "TURNKEEP_LISTEN": listen}, address=line) as second:
            assert (await Session(second.stub()[1]).chat("Привет")).sequence == 1


async def test_a_misspelt_setting_is_warned_about(server: ServerProcess) -> None:
    """TURNKEEP_MODLE is no setting; TURNKEEP_MODEL is meant. Others' variables are left alone."""
    ended = await turnkeep_server(
        env={
            **GOOD,
            "TURNKEEP_LISTEN": server.address,
            "TURNKEEP_MODLE": "gpt-4o",
            "KEEPTURN_MODEL": "x",
        }
    )

    assert "TURNKEEP_MODLE" in ended.stderr
    assert "did you mean TURNKEEP_MODEL?" in ended.stderr
    assert "KEEPTURN" not in ended.stderr


async def test_help_lists_every_setting() -> None:
    """Name, default and meaning of each, without a key, a database or a port."""
    ended = await turnkeep_server("--help")

    assert ended.code == 0
    words = " ".join(ended.stdout.split())
    for variable, default, meaning in described_settings():
        assert variable in words
        assert f"[{default}]" in words if default else True
        assert meaning in words
    assert {"repair", "health"} <= set(ended.stdout.split())
