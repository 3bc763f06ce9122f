"""The canaries: what counts as a leak, and who is told."""

import base64
import json
import uuid

import grpc.aio
import pytest

from tests.kit import canary
from tests.kit.canary import KEY, MARK, SecretLeaked, WatchedStatuses, secret
from tests.kit.rpcs import bearer

SAID = "Меня зовут Виктор, и это тайна"


@pytest.mark.parametrize(
    "told",
    [
        f"Incorrect API key provided: {KEY}.",
        f"HTTP://H/{MARK.upper()}",
        "Basic " + base64.b64encode(f"user:{secret('userinfo')}".encode()).decode(),
        base64.b64encode(f"x{secret('a')}".encode()).decode(),
        repr(f"\n{secret('a')}\0".encode()),
        secret("data").encode().hex(),
    ],
)
def test_a_secret_is_found_however_it_is_written(told: str) -> None:
    assert len(canary.leaks(f"before {told} after")) == 1


@pytest.mark.parametrize("write", [str, repr, ascii, json.dumps])
def test_what_was_said_is_found_however_it_is_written(write: "type[str]") -> None:
    assert canary.leaks(f"before {write(SAID)} after", {SAID[:24]})
    assert not canary.leaks("before and after", {SAID[:24]})


def test_what_has_no_secret_is_clean() -> None:
    canary.check("a log", "kanarek", {SAID})
    with pytest.raises(SecretLeaked, match="a log"):
        canary.check("a log", f"… {KEY} …")


def test_a_token_that_was_shown_is_a_secret() -> None:
    """The metadata of every test's call is made by `bearer`, which notes it."""
    token = f"{uuid.uuid4().hex}.e30.{uuid.uuid4().hex}"
    assert not canary.leaks(f"refused: {token}")
    ((_, header),) = bearer(token)
    assert canary.leaks(f"refused: {token}")
    assert canary.leaks(header[:40])
    bearer("short")
    assert not canary.leaks("short")


def test_they_are_planted_in_what_tests_set_and_change_nothing_else() -> None:
    env = {"OPENAI_API_KEY": "test", "TURNKEEP_HISTORY_URL": "mongodb://h/d?directConnection=true"}
    planted = canary.planted({**env, "TURNKEEP_MODEL": "x"})
    assert planted["OPENAI_API_KEY"] == KEY
    assert planted["TURNKEEP_HISTORY_URL"].startswith(env["TURNKEEP_HISTORY_URL"] + "&authSource=")
    assert planted["TURNKEEP_MODEL"] == "x"
    others = {"OPENAI_API_KEY": "another", "TURNKEEP_HISTORY_URL": "memory://"}
    assert canary.planted(others) == others


def test_every_error_of_a_call_is_searched(statuses: WatchedStatuses) -> None:
    trailers = grpc.aio.Metadata(("x-bin", f"\0{KEY}".encode()))
    grpc.aio.AioRpcError(grpc.StatusCode.UNKNOWN, grpc.aio.Metadata(), trailers, "well")
    assert statuses.found
    statuses.found.clear()
    grpc.aio.AioRpcError(grpc.StatusCode.UNKNOWN, grpc.aio.Metadata(), grpc.aio.Metadata(), "well")
    assert not statuses.found
