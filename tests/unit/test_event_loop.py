"""The event loop that a server runs on."""

import asyncio
import sys

import pytest

from turnkeep_server import event_loop
from turnkeep_server.settings import load_settings


async def kind_of_loop() -> str:
    """Whose loop this runs on."""
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not made for it")
@pytest.mark.parametrize("name", ["uvloop", "asyncio"])
def test_a_job_runs_on_the_loop_that_the_settings_name(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("TURNKEEP_EVENT_LOOP", name)
    assert event_loop.run(kind_of_loop(), load_settings()) == name


def test_without_uvloop_it_runs_on_python_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert event_loop.run(kind_of_loop(), load_settings()) == "asyncio"
