"""`turnkeep-server health`: one question to a running server, in the way that it can be asked."""

import asyncio
import socket
import ssl
from typing import Any

import grpc
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from turnkeep_server.certificates import names_of, read_files
from turnkeep_server.errors import SettingsError
from turnkeep_server.settings import Settings

_SECONDS = 3.0
_ASKS_FOR_A_CERTIFICATE = (
    "UNAVAILABLE (the server asks for a client's certificate, and takes its own for none; set "
    "TURNKEEP_HEALTH_LISTEN, such as 127.0.0.1:50052, for it and for this command)"
)


async def probed(settings: Settings, address: str | None) -> tuple[str, str]:
    """Whom it asked, at `address` or on this machine, and the answer: SERVING or why not."""
    if address is None and settings.health_listen:
        asked = reachable(settings.health_listen)
        return asked, await _ask(grpc.aio.insecure_channel(asked))
    asked = address or reachable(settings.listen)
    if settings.tls_certificate_file is None:
        return asked, await _ask(grpc.aio.insecure_channel(asked))
    try:
        channel = await asyncio.to_thread(_secure_channel_arguments, settings, asked)
    except OSError:
        return asked, grpc.StatusCode.UNAVAILABLE.name
    answer = await _ask(grpc.aio.secure_channel(asked, *channel))
    if answer == grpc.StatusCode.UNAVAILABLE.name and settings.tls_client_ca_file:
        return asked, _ASKS_FOR_A_CERTIFICATE
    return asked, answer


def _secure_channel_arguments(
    settings: Settings, asked: str
) -> tuple[grpc.ChannelCredentials, list[tuple[str, str]]]:
    """For a channel that trusts the certificate that the server shows, whatever it is.

    Nothing is sent that would have to be kept from an impostor. And it is the server that is asked
    for it, not the file: a new file that is broken does not make a server ill that goes on with the
    old one. To a server that asks for a certificate, its own is shown: some authorities sign both.
    """
    shown = _shown_certificate(asked)
    names = names_of(x509.load_pem_x509_certificate(shown))
    options = [("grpc.ssl_target_name_override", names[0].replace("*", "health"))] if names else []
    own = _own_pair(settings) if settings.tls_client_ca_file else (None, None)
    return grpc.ssl_channel_credentials(shown, *own), options


def _own_pair(settings: Settings) -> tuple[bytes | None, bytes | None]:
    try:
        files = read_files(settings)
    except SettingsError:
        return None, None
    return (files.key, files.chain) if files else (None, None)


def _shown_certificate(address: str) -> bytes:
    """The certificate of whoever listens there, in PEM form. Raises OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # Its own handshake only; a server that wants a certificate says so after this.
    context.set_alpn_protocols(["h2"])
    with _connected(address) as connection, context.wrap_socket(connection) as encrypted:
        shown = encrypted.getpeercert(binary_form=True)
    if shown is None:
        raise ConnectionError("no certificate")
    return ssl.DER_cert_to_PEM_cert(shown).encode()


def _connected(address: str) -> socket.socket:
    if not address.startswith("unix:"):
        host, _, port = address.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_SECONDS)
    connection.connect(address.removeprefix("unix:").removeprefix("//"))
    return connection


async def _ask(channel: grpc.aio.Channel) -> str:
    async with channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)
        except grpc.aio.AioRpcError as error:
            return error.code().name
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def reachable(listen: str) -> str:
    """Where to call a server on this machine that listens on every interface."""
    return listen.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:")
