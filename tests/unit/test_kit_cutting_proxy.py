"""The kit's bad network: each way a connection can end, as both of its sides see it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.kit.cutting_proxy import CuttingProxy, Ending
from tests.kit.ports import bound_socket

TEXT = "Привет 👋\n".encode()


@pytest_asyncio.fixture
async def echo() -> AsyncIterator[str]:
    """The address of a server that says each line again, and goodbye when no more comes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line)
            writer.write(b"goodbye\n")
        except ConnectionError:
            pass
        finally:
            writer.close()

    listener = bound_socket()
    host, port = listener.getsockname()
    server = await asyncio.start_server(talk, sock=listener)
    yield f"{host}:{port}"
    server.close()


async def dialled(proxy: CuttingProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = proxy.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def heard(reader: asyncio.StreamReader) -> bytes:
    """All that comes within a moment; b"" at the end, and a word for a reset or for silence."""
    try:
        async with asyncio.timeout(0.3):
            return await reader.read()
    except ConnectionResetError:
        return b"reset"
    except TimeoutError:
        return b"silence"


async def test_what_may_be_carried_comes_through_late(echo: str) -> None:
    async with CuttingProxy(echo, mean_bytes=None, seed=1, delay_seconds=0.2) as proxy:
        reader, writer = await dialled(proxy)
        writer.write(TEXT)
        began = asyncio.get_running_loop().time()
        assert await reader.readline() == TEXT
        assert asyncio.get_running_loop().time() - began > 0.02
        writer.close()


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Ending.RESET, {b"reset"}),
        (Ending.ORDERLY, {b""}),
        (Ending.HOLE, {b"silence"}),
        # Which of the two sides is told that no more comes is left to chance.
        (Ending.HALF_CLOSED, {TEXT[:1], TEXT[:1] + b"goodbye\n"}),
    ],
    ids=lambda each: each.value if isinstance(each, Ending) else "",
)
async def test_a_connection_that_carried_what_it_may_meets_its_ending(
    echo: str, ending: Ending, expected: set[bytes]
) -> None:
    found = set()
    for seed in range(6):
        async with CuttingProxy(echo, mean_bytes=0.1, seed=seed, endings=[ending]) as proxy:
            reader, writer = await dialled(proxy)
            writer.write(TEXT)
            found.add(await heard(reader))
            assert proxy.cuts == 1
            writer.close()
    assert found <= expected
    assert len(found) == (2 if ending is Ending.HALF_CLOSED else 1)
