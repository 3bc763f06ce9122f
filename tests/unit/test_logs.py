"""Logs tell what went wrong, and never in an exception's own words."""

import json
import logging
import time
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


def test_an_exception_is_told_by_its_type_and_place_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs(Settings())
    try:
        int("canary: what a person said in confidence")
    except ValueError:
        structlog.get_logger().exception("a task failed")
    line = capsys.readouterr().err
    assert "canary" not in line
    told = json.loads(line)
    assert (told["event"], told["error_type"]) == ("a task failed", "ValueError")
    assert "test_an_exception_is_told" in told["stack"][0]


def test_a_librarys_record_is_told_without_what_it_quotes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By its logger, its template and its place, and not as a line of the call that runs."""
    configure_logs(Settings())
    library = logging.getLogger("some.library")
    structlog.contextvars.bind_contextvars(method="canary")
    try:
        int("canary: a header")
    except ValueError as error:
        library.exception("Invalid encoding on %s", b"Bearer canary")
        library.error(f"it has been filled in: canary {error}")
        library.error(error)
        library.log(37, "%s", "canary")
    finally:
        structlog.contextvars.clear_contextvars()
    written = capsys.readouterr().err
    assert "canary" not in written
    first, *others = map(json.loads, written.splitlines())
    assert (first["event"], first["level"]) == ("library_record", "error")
    assert (first["logger"], first["template"]) == ("some.library", "Invalid encoding on %s")
    assert first["error_type"] == "ValueError"
    assert "test_a_librarys_record" in first["stack"][0]
    assert ["test_logs.py:" in each.get("at", "") for each in others] == [True, True, False]
    assert [each.get("template") for each in others] == [None, None, "%s"]
    assert [each["level"] for each in others] == ["error", "error", "warning"]


def test_libraries_are_told_once_a_second_of_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    """The first at once, then how many more there were: whoever has them log fills no disk."""
    configure_logs(Settings())
    for number in range(500):
        logging.getLogger("some.library").error("Invalid encoding on %s", number)
    first = capsys.readouterr().err
    assert json.loads(first)["times"] == 1
    logging.getLogger("other.library").warning("Queue full")
    assert "other.library" in capsys.readouterr().err
    later, until = "", time.monotonic() + 10
    while not later and time.monotonic() < until:
        time.sleep(0.02)
        later = capsys.readouterr().err
    told = json.loads(later)
    assert (told["logger"], told["times"]) == ("some.library", 499)


def test_what_is_still_to_be_told_is_told_at_the_exit(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(Settings())
    for _ in range(3):
        logging.getLogger("some.library").error("failed")
    (handler,) = logging.getLogger().handlers
    handler.flush()  # as logging.shutdown() does
    lines = map(json.loads, capsys.readouterr().err.splitlines())
    assert [each["times"] for each in lines] == [1, 2]


def test_people_are_told_where_an_exception_arose_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for each place; of a library's record as of our own."""
    monkeypatch.setenv("TURNKEEP_LOG_FORMAT", "console")
    configure_logs(Settings())
    try:
        int("canary")
    except ValueError:
        structlog.get_logger().exception("a task failed")
        logging.getLogger("some.library").exception("Invalid encoding on %s", b"canary")
    written = capsys.readouterr().err
    assert "canary" not in written
    assert written.count(" test_people_are_told_where") == 2
    assert "some.library" in written


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
