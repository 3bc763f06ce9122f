"""Why a server is not reached: gRPC only says that it is not, so the steps are gone one by one."""

import re
import socket
import ssl
from typing import NamedTuple

from turnkeep.channel import Certificate, Tls

_STEP_SECONDS = 2.0
_HOST_AND_PORT = re.compile(r"(?:dns:(?://[^/]*/)?)?(?P<host>[^/:\[\],]+|\[[^\]]+\]):(?P<port>\d+)")


class Cause(NamedTuple):
    """What is wrong, and what to do."""

    why: str
    remedy: str


_WANTS_A_CERTIFICATE = Cause(
    "it asks for a certificate of yours that it trusts",
    "give --certificate-file and --certificate-key-file",
)


def refused_because(target: str, tls: Tls, certificate: Certificate | None) -> Cause:
    """The first step that fails on the way to host:port; of other targets little is known."""
    found = _HOST_AND_PORT.fullmatch(target)
    if not found:
        return Cause("no answer", "is the address right, and the server running?")
    host, port = found["host"].strip("[]"), int(found["port"])
    try:
        context = _context(tls, certificate)
    except ssl.SSLError:
        return Cause("your own certificate cannot be used", "is the key that of the certificate?")
    try:
        with socket.create_connection((host, port), timeout=_STEP_SECONDS) as connection:
            return _encrypted(connection, host, context) if tls else _plain(connection)
    except socket.gaierror:
        return Cause(f"nobody knows the name {host}", "is it spelled right? see --server")
    except TimeoutError:
        return Cause("no answer at all", "is it the right address? does a firewall drop it?")
    except OSError as error:
        return Cause(
            (error.strerror or "no connection").lower(),
            "is the server running, and on this port? see --server",
        )


def _plain(connection: socket.socket) -> Cause:
    """The port is open, and gRPC got no further: does it speak TLS?"""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with context.wrap_socket(connection):
            return Cause("it speaks TLS", "give --tls, or --ca-file for authorities of your own")
    except (OSError, ValueError):
        return Cause("something listens there that speaks no gRPC", "is it the right port?")


def _context(tls: Tls, certificate: Certificate | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls if isinstance(tls, str) else None)
    context.set_alpn_protocols(["h2"])
    if certificate:
        context.load_cert_chain(*certificate)
    return context


def _encrypted(connection: socket.socket, host: str, context: ssl.SSLContext) -> Cause:
    """The port is open, and gRPC got no further: is it the certificate?"""
    try:
        with context.wrap_socket(connection, server_hostname=host) as encrypted:
            return _after_the_handshake(encrypted)
    except ssl.SSLCertVerificationError as error:
        return Cause(
            f"its certificate is not trusted: {error.verify_message}",
            "give --ca-file the authority that signed it; the name must be the server's",
        )
    except ssl.SSLError:
        return Cause("it speaks no TLS", "leave --tls and --ca-file out, or give --no-tls")
    except OSError:
        return Cause("it hung up during the TLS handshake", "leave --tls out, or give --no-tls")


def _after_the_handshake(encrypted: ssl.SSLSocket) -> Cause:
    """In TLS 1.3 a server judges our certificate after it; one that is content speaks first."""
    no_grpc = Cause("TLS is well, but it speaks no gRPC", "is it the right port?")
    try:
        spoke = encrypted.recv(1)
    except TimeoutError:
        return no_grpc
    except OSError:
        spoke = b""
    return no_grpc if spoke else _WANTS_A_CERTIFICATE
