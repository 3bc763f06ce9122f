"""An address that is reserved for workers: they can share it, and nobody else gets it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from turnkeep_server.addresses import check_free
from turnkeep_server.errors import StartupError
from turnkeep_server.reserved_address import reserved

EVERYWHERE = ("127.0.0.1:{}", "0.0.0.0:{}", "[::]:{}")


@contextmanager
def listening(address: str, *, shared: bool) -> Iterator[socket.socket]:
    """A socket that listens there as gRPC's do: a worker's if shared, else a single server's."""
    host, _, port = address.rpartition(":")
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        one.bind((host, int(port)))
        one.listen()
        yield one


def leave_a_closed_connection(server: socket.socket) -> None:
    """One that lingers at the server's port, for it was the server that closed it."""
    with socket.create_connection(server.getsockname()):
        server.accept()[0].close()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_port_0_becomes_a_free_port_that_several_may_listen_on(host: str) -> None:
    with reserved(f"{host}:0") as address:
        assert address.startswith(f"{host}:")
        assert not address.endswith(":0")
        with listening(address, shared=True), listening(address, shared=True):
            pass


def test_nobody_else_may_listen_though_no_worker_does_at_the_moment() -> None:
    with reserved("0.0.0.0:0") as address:
        with listening(address, shared=True):
            pass
        port = address.rpartition(":")[2]
        for other in EVERYWHERE:
            with pytest.raises(OSError, match="in use"):
                check_free(other.format(port))
        with pytest.raises(OSError, match="in use"), listening(address, shared=False):
            pass


@pytest.mark.parametrize("other", EVERYWHERE)
def test_it_cannot_be_reserved_twice(other: str) -> None:
    """Not even between the moment it was reserved and the first worker's start."""
    with reserved("0.0.0.0:0") as address:
        port = address.rpartition(":")[2]
        with (
            pytest.raises(StartupError, match="taken by another server"),
            reserved(other.format(port)),
        ):
            pass
    with reserved(other.format(port)):
        pass


@pytest.mark.parametrize("shared", [False, True])
def test_it_cannot_be_reserved_while_another_server_listens(shared: bool) -> None:
    """One that would share it, too: workers that a killed supervisor has left, say."""
    with reserved("127.0.0.1:0") as address:
        pass
    with (
        listening(address, shared=shared),
        pytest.raises(StartupError, match="set TURNKEEP_LISTEN"),
        reserved(address),
    ):
        pass


@pytest.mark.parametrize("shared", [False, True])
def test_what_lingers_of_an_earlier_server_is_in_no_way(shared: bool) -> None:
    """Be it a single one or workers: a restart need not wait a minute."""
    with reserved("127.0.0.1:0") as address:
        pass
    with listening(address, shared=shared) as server:
        leave_a_closed_connection(server)
    with reserved(address) as again, listening(again, shared=True), listening(again, shared=True):
        assert again == address


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(StartupError, match="none of this machine"), reserved("192.0.2.1:0"):
        pass
