"""An address kept for the workers of one server, and from everybody else.

Workers share an address by SO_REUSEPORT, which by itself lets any server of the same user join them
in silence. So it is taken the exclusive way first, by a socket that listens without that option,
and then handed over to one that has it, never listens, and stays: whoever binds without the option,
as a single server does, is refused as long as the supervisor lives, though no worker may be
listening at the moment (socket(7)).
"""

import errno
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from turnkeep_server.addresses import cannot_listen
from turnkeep_server.errors import StartupError

_ANY_PORT_ATTEMPTS = 20
_EVERY_INTERFACE = (socket.AF_INET6, ("::", 0, 0, 0))
_NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

_Place = tuple[socket.AddressFamily, tuple[Any, ...]]


@contextmanager
def reserved(listen: str, variable: str = "TURNKEEP_LISTEN") -> Iterator[str]:
    """Reserves every address that HOST:PORT means, within the block; port 0 becomes a free one.

    Yields HOST:PORT for the workers. Raises StartupError with the remedy if an address is taken.
    """
    with ExitStack() as stack:
        try:
            address = _reserve(listen, stack)
        except OSError as error:
            raise StartupError(cannot_listen(listen, error, variable)) from error
        yield address


def _reserve(listen: str, stack: ExitStack) -> str:
    host, _, port = listen.rpartition(":")
    places = _places(host.strip("[]"))
    for attempts_left in reversed(range(1 if int(port) else _ANY_PORT_ATTEMPTS)):
        with ExitStack() as kept:
            try:
                number = _reserve_port(places, int(port), kept)
            except OSError as error:
                # A port that is free at one of localhost's two addresses may be taken at the other.
                if error.errno != errno.EADDRINUSE or not attempts_left:
                    raise
            else:
                stack.push(kept.pop_all())
                return f"{host}:{number}"
    raise AssertionError("the last attempt returns or raises")


def _places(host: str) -> list[_Place]:
    """The addresses of `host`. Those of every interface are one, of IPv4 and IPv6, as for gRPC."""
    found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    places: list[_Place] = [(family, address) for family, _, _, _, address in found]
    if any(_is_of_every_interface(place) for place in places) and _exists(_EVERY_INTERFACE):
        return [_EVERY_INTERFACE]
    return places


def _reserve_port(places: list[_Place], port: int, stack: ExitStack) -> int:
    """Reserves one port, any if 0, at all places that this machine has, and returns it."""
    here = [place for place in places if _exists(place)]
    for place in here or places:
        kept = stack.enter_context(_reserve_one(place, port))
        port = kept.getsockname()[1]
    return port


def _reserve_one(place: _Place, port: int) -> socket.socket:
    with _bound(place, port) as gate:
        gate.listen()  # of two that are bound at the same moment, one may
        _set(gate, socket.SO_REUSEADDR, False)
        _set(gate, socket.SO_REUSEPORT, True)
        kept = _bound(place, gate.getsockname()[1], sharing=True)
        # It was for the connections that an earlier server left, which linger for a minute. If it
        # stayed, others could bind by it.
        _set(kept, socket.SO_REUSEADDR, False)
        return kept


def _bound(place: _Place, port: int, *, sharing: bool = False) -> socket.socket:
    family, address = place
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        _set(one, socket.SO_REUSEADDR, True)
        _set(one, socket.SO_REUSEPORT, sharing)
        if family == socket.AF_INET6:
            only_ipv6 = not _is_of_every_interface(place)
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_ipv6))
        one.bind((address[0], port, *address[2:]))
    except BaseException:
        one.close()
        raise
    return one


def _set(one: socket.socket, option: int, on: bool) -> None:
    one.setsockopt(socket.SOL_SOCKET, option, int(on))


def _is_of_every_interface(place: _Place) -> bool:
    return ipaddress.ip_address(place[1][0].partition("%")[0]).is_unspecified


def _exists(place: _Place) -> bool:
    """Whether this machine has the address: one without IPv6 has no ::1, and needs none."""
    try:
        _bound(place, 0).close()
    except OSError as error:
        return error.errno not in _NO_SUCH_ADDRESS
    return True
