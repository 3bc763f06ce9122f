"""Logs tell what went wrong, and never in an exception's own words."""

import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from turnkeep_server.logs import configure_logs
from turnkeep_server.settings import Settings


@pytest.fixture(autouse=True)
def _json_logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logs as JSON while a test runs: they go to a stream that is closed after it."""
    monkeypatch.setenv("TURNKEEP_LOG_FORMAT", "json")
    yield
    structlog.reset_defaults()
    logging.basicConfig(force=True)


@pytest.mark.parametrize("library", [True, False])
def test_an_exception_is_told_by_its_type_and_place_alone(
    capsys: pytest.CaptureFixture[str], library: bool
) -> None:
    configure_logs(Settings())
    try:
        int("canary: what a person said in confidence")
    except ValueError:
        if library:
            logging.getLogger("asyncio").exception("a task failed")
        else:
            structlog.get_logger().exception("a task failed")
    line = capsys.readouterr().err
    assert "canary" not in line
    told = json.loads(line)
    assert (told["event"], told["error_type"]) == ("a task failed", "ValueError")
    assert "test_an_exception_is_told" in told["stack"][0]


def test_text_in_every_script_stays_readable(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(Settings())
    structlog.get_logger().info("готово", who="维克多")
    assert "维克多" in capsys.readouterr().err


def test_the_log_level_is_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TURNKEEP_LOG_LEVEL", "error")
    configure_logs(Settings())
    structlog.get_logger().info("quiet")
    assert capsys.readouterr().err == ""


def test_a_python_warning_is_told_by_its_type_and_place_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with warnings.catch_warnings():
        configure_logs(Settings())
        warnings.simplefilter("always")
        warnings.warn("canary: what a model answered", UserWarning, stacklevel=1)
    told = json.loads(capsys.readouterr().err)
    assert (told["event"], told["category"]) == ("python_warning", "UserWarning")
    assert "canary" not in json.dumps(told)
