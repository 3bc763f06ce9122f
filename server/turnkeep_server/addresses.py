"""The address that the server listens on."""

import errno
import socket


def check_free(listen: str) -> None:
    """Raises OSError if any of the addresses that HOST:PORT means is taken.

    gRPC is content if it can bind one of them: of localhost's two, another server may have the
    first. A unix socket's path and port 0 are left to gRPC.
    """
    host, _, port = listen.rpartition(":")
    if listen.startswith("unix:") or int(port) == 0:
        return
    found = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind(address)
            except OSError as error:
                # A machine without IPv6 has no ::1, and needs none.
                if error.errno != errno.EADDRNOTAVAIL:
                    raise


def why_not(error: Exception) -> str:
    """Why an address cannot be listened on, in words."""
    if isinstance(error, socket.gaierror):
        return "its host name is not known"
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "the address is taken by another server"
    if isinstance(error, OSError) and error.errno == errno.EACCES:
        return "this user may not listen there"
    return "the address is taken, or is none of this machine"
