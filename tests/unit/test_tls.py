"""Files of TLS that change: what is taken, what is told, and how often."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog.testing

from tests.kit.tls_files import Authority, Pair, PairFiles
from turnkeep_server import tls
from turnkeep_server.errors import SettingsError
from turnkeep_server.settings import Settings
from turnkeep_server.tls import Tls

CA = Authority()
SECONDS = 0.01
Log = list[Any]


@pytest.fixture
def files(tmp_path: Path) -> PairFiles:
    """A good pair, as a server starts with."""
    return CA.issue().write(tmp_path)


def settings(files: PairFiles) -> Settings:
    return Settings(tls_certificate_file=files.certificate, tls_key_file=files.key)


@pytest.fixture
def log() -> Iterator[Log]:
    """What is logged, as it comes."""
    with structlog.testing.capture_logs() as logged:
        yield logged


@pytest_asyncio.fixture
async def followed(
    files: PairFiles, log: Log, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PairFiles]:
    """The files, while somebody looks at them all the time."""
    monkeypatch.setattr(tls, "_LOOK_EVERY_SECONDS", SECONDS)
    following = asyncio.create_task(Tls(settings(files)).follow())
    await asyncio.sleep(5 * SECONDS)
    assert log == []
    yield files
    following.cancel()
    await asyncio.wait({following})


async def told(log: Log, count: int) -> list[tuple[str, str]]:
    """Level and event of what was told, which is so much and stays so."""
    async with asyncio.timeout(10):
        while len(log) < count:
            await asyncio.sleep(SECONDS)
    await asyncio.sleep(10 * SECONDS)
    return [(each["log_level"], each["event"]) for each in log]


REFUSED, TAKEN = ("error", "certificate_not_reloaded"), ("info", "certificate_reloaded")


async def test_a_new_pair_is_taken_once(followed: PairFiles, log: Log) -> None:
    pair = CA.issue()
    followed.replace_by_rename(pair)
    assert await told(log, 1) == [TAKEN]
    assert log[0]["serial"] == f"{pair.serial:x}"


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda files: files.key.unlink(), "cannot read"),
        (lambda files: files.key.write_bytes(CA.issue().key), "is not the key of"),
        (lambda files: files.certificate.write_bytes(b""), "holds no certificate"),
        (lambda files: files.replace_in_place(CA.issue(expires_days=-0.5)), "expired"),
    ],
    ids=["gone", "another key", "empty", "expired"],
)
async def test_what_could_not_serve_is_told_once_and_not_taken(
    followed: PairFiles, log: Log, spoil: Callable[[PairFiles], None], why: str
) -> None:
    """When it is as it was there is nothing to tell; when it is good again, it is taken."""
    good = Pair(followed.certificate.read_bytes(), followed.key.read_bytes())
    spoil(followed)
    assert await told(log, 1) == [REFUSED]
    assert why in log[0]["problem"]
    followed.replace_in_place(good)
    assert await told(log, 1) == [REFUSED]
    followed.replace_in_place(CA.issue())
    assert await told(log, 2) == [REFUSED, TAKEN]


async def test_handshakes_are_given_the_newest_pair_once(
    files: PairFiles, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC asks at every handshake; nothing means that it goes on with what it has."""
    monkeypatch.setattr(tls, "_LOOK_EVERY_SECONDS", SECONDS)
    kept = Tls(settings(files))
    assert kept._newest() is None
    following = asyncio.create_task(kept.follow())
    await asyncio.sleep(3 * SECONDS)
    for count in (1, 2):
        files.replace_in_place(CA.issue())
        await told(log, count)
    assert kept._newest() is not None
    assert kept._newest() is None
    following.cancel()
    await asyncio.wait({following})


async def test_a_certificate_that_ends_soon_is_warned_about(tmp_path: Path, log: Log) -> None:
    soon = CA.issue(expires_days=13).write(tmp_path)
    following = asyncio.create_task(Tls(settings(soon)).follow())
    assert await told(log, 1) == [("warning", "certificate_expires")]
    following.cancel()
    await asyncio.wait({following})


def test_a_key_that_others_may_read_is_warned_about(files: PairFiles, log: Log) -> None:
    files.key.chmod(0o644)
    Tls(settings(files))
    assert [(each["log_level"], each["event"]) for each in log] == [
        ("warning", "tls_key_readable_by_others")
    ]
    assert "chmod o-r" in log[0]["remedy"]


def test_what_could_not_serve_ends_the_start(files: PairFiles) -> None:
    files.key.write_bytes(CA.issue().key)
    with pytest.raises(SettingsError, match="TURNKEEP_TLS_KEY_FILE"):
        Tls(settings(files))
