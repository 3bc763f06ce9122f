"""The address that the server listens on."""

import errno
import socket
from pathlib import Path

_EVERY_INTERFACE = {"0.0.0.0", "[::]"}  # noqa: S104  # compared with
_LOOPBACK = {"localhost", "127.0.0.1", "[::1]"}


def check_address(value: str) -> str:
    """The address as it is. Raises ValueError for what is neither HOST:PORT nor unix:PATH."""
    host, _, port = value.rpartition(":")
    bare_ipv6 = ":" in host and not host.startswith("[")
    valid = host and not bare_ipv6 and port.isdigit() and int(port) < 65_536
    if value.startswith("unix:"):
        valid = value != "unix:"
    if not valid:
        raise ValueError("write HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051, or unix:PATH")
    return value


def check_free(listen: str) -> None:
    """Raises OSError if the unix socket, or any address that HOST:PORT means, cannot be had.

    gRPC is content if it can bind one of them: of localhost's two, another server may have the
    first; and it takes the path of a socket away from whoever listens there. Port 0 is left to it.
    """
    if listen.startswith("unix:"):
        _check_nobody_listens(listen.removeprefix("unix:"))
        return
    host, _, port = listen.rpartition(":")
    if int(port) == 0:
        return
    found = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    missing: OSError | None = None
    had = False
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind(address)
                had = True
            except OSError as error:
                # A machine without IPv6 has no ::1, and needs none.
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
                missing = error
    if missing and not had:
        raise missing


def _check_nobody_listens(path: str) -> None:
    """A path that a killed server has left is free: nobody answers there."""
    if not Path(path.removeprefix("//")).parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # unix:///path is the same as unix:/path (https://grpc.github.io/grpc/cpp/md_doc_naming.html).
        if probe.connect_ex(path.removeprefix("//")) == 0:
            raise OSError(errno.EADDRINUSE, "in use")


def would_collide(one: str, other: str) -> bool:
    """Whether one process could not listen on both; no host's name is looked up."""
    if one.startswith("unix:") or other.startswith("unix:"):
        return one == other
    host, _, port = one.rpartition(":")
    other_host, _, other_port = other.rpartition(":")
    if int(port) != int(other_port) or int(port) == 0:
        return False
    hosts = {host.lower(), other_host.lower()}
    named_loopback = "localhost" in hosts and hosts < _LOOPBACK
    return len(hosts) == 1 or bool(hosts & _EVERY_INTERFACE) or named_loopback


def cannot_listen(listen: str, error: Exception, variable: str = "TURNKEEP_LISTEN") -> str:
    """What a server says that cannot listen where the setting `variable` says, with the remedy."""
    return (
        f"cannot listen on {listen}: {why_not(error)}; set {variable} to another address "
        "(port 0 takes a free one)"
    )


def why_not(error: Exception) -> str:
    """Why an address cannot be listened on, in words."""
    if isinstance(error, socket.gaierror):
        return "its host name is not known"
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "the address is taken by another server"
    if isinstance(error, OSError) and error.errno == errno.EACCES:
        return "this user may not listen there"
    if isinstance(error, FileNotFoundError):
        return "its folder is not there"
    return "the address is taken, or is none of this machine"
