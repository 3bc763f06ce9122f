"""Prometheus' port: whoever reaches it holds no thread for long, and no more than so many."""

import asyncio
import socket
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry, Gauge

from turnkeep_server.errors import StartupError
from turnkeep_server.telemetry import port
from turnkeep_server.telemetry.port import opened_port

MOST, SECONDS = 3, 0.5


@pytest_asyncio.fixture
async def address(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A port that answers three at once, each for half a second."""
    monkeypatch.setattr(port, "_MOST_AT_ONCE", MOST)
    monkeypatch.setattr(port, "_ANSWERED_WITHIN_SECONDS", SECONDS)
    registry = CollectorRegistry()
    Gauge("answered", "to whom it may concern", registry=registry).set(7)
    async with opened_port("127.0.0.1:0", registry) as address:
        yield address


def _connected(address: str) -> socket.socket:
    host, _, number = address.rpartition(":")
    return socket.create_connection((host, int(number)), timeout=10)


def _scrape(address: str) -> bytes:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        data: bytes = answer.read()
        return data


def _answering() -> int:
    """Threads of the port's; asyncio has its own."""
    return sum("process_request_thread" in each.name for each in threading.enumerate())


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def _drip(connection: socket.socket) -> float:
    """A byte now and then, for as long as they are taken; how long that was, in seconds."""
    began = time.monotonic()
    try:
        while time.monotonic() < began + 10:
            connection.sendall(b"G")
            time.sleep(SECONDS / 10)
    except OSError:
        pass
    return time.monotonic() - began


async def test_who_drips_or_says_nothing_is_cut_off(
    address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever he sends meanwhile; then the next one is answered, and stderr has no traceback."""
    silent, dripping = _connected(address), _connected(address)
    assert SECONDS / 2 < await asyncio.to_thread(_drip, dripping) < 5
    assert await asyncio.to_thread(silent.recv, 1) == b""
    assert b"answered 7.0" in await asyncio.to_thread(_scrape, address)
    for each in (silent, dripping):
        each.close()
    assert capfd.readouterr().err == ""


async def test_no_more_are_listened_to_than_there_are_places(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes beyond is sent away at once, and the places are free again."""
    monkeypatch.setattr(port, "_ANSWERED_WITHIN_SECONDS", 60)
    held = [_connected(address) for _ in range(MOST)]
    await _until(lambda: _answering() == MOST)
    beyond = [_connected(address) for _ in range(20)]
    for each in beyond:
        assert await asyncio.to_thread(each.recv, 1) == b""
    assert _answering() == MOST
    for each in (*held, *beyond):
        each.close()
    await _until(lambda: _answering() == 0)
    for _ in range(2 * MOST):
        assert b"answered 7.0" in await asyncio.to_thread(_scrape, address)


async def test_a_port_that_is_taken_or_nowhere_is_told(address: str) -> None:
    for listen in (address, "нет.invalid:9464"):
        with pytest.raises(StartupError, match="TURNKEEP_METRICS_LISTEN"):
            async with opened_port(listen, CollectorRegistry()):
                pass


async def test_it_listens_on_ipv6_too() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")
    async with opened_port("[::1]:0", CollectorRegistry()) as address:
        assert address.startswith("[::1]:")
        await asyncio.to_thread(_scrape, address)
