"""How the client connects: the policy of its channel, the same for both of its interfaces."""

import os
import re

import grpc

SERVICE = "turnkeep.v1.ConversationService"
KEEPALIVE_MS = 30_000
KEEPALIVE_TIMEOUT_MS = 10_000
CONNECT_MS = 5_000
FIRST_RECONNECT_MS = 100
SLOWEST_RECONNECT_MS = 5_000
MAX_ANSWER_BYTES = 64 * 2**20

# https://github.com/grpc/proposal/blob/master/A17-client-side-health-checking.md
_SERVICE_CONFIG = (
    '{"loadBalancingConfig": [{"round_robin": {}}],'
    f' "healthCheckConfig": {{"serviceName": "{SERVICE}"}}}}'
)

File = str | os.PathLike[str]
Tls = bool | File | grpc.ChannelCredentials | None
Certificate = tuple[File, File]
"""A client's own: the PEM files of the certificate, with the chain above it, and of its key."""


def channel_options(user_agent: str) -> list[tuple[str, str | int]]:
    """The channel's options, each for a reason."""
    return [
        # Calls go to the healthy servers in turn. A server that drains, or has lost its database,
        # says so by its health and gets no more calls.
        ("grpc.service_config", _SERVICE_CONFIG),
        # A connection that died in silence is noticed within 40 s of a running call. The server
        # allows a ping every 10 s.
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        # How long one attempt to connect may take (not, as its name says, how long to wait before
        # the next): gRPC's own 20 s is as long as most calls have, where a host drops packets.
        ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
        # gRPC's own are 1 s and 2 minutes: a server that is back would not be noticed for long.
        ("grpc.initial_reconnect_backoff_ms", FIRST_RECONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", SLOWEST_RECONNECT_MS),
        # Channels share connections by default: a new client would wait out the back-off of one
        # that was closed, and be refused meanwhile though the server is back.
        ("grpc.use_local_subchannel_pool", 1),
        # 4 MiB by default: a preview with files may be larger.
        ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
        ("grpc.primary_user_agent", user_agent),
    ]


def credentials(
    target: str, token: object, tls: Tls, certificate: Certificate | None = None
) -> grpc.ChannelCredentials | None:
    """What the channel is secured with; None sends everything in the clear.

    `tls` is True for the system's certificate authorities, a path for those in a PEM file, or
    gRPC's own credentials. `certificate` is shown to a server that asks for one, and means TLS.
    Without either it is plain text, but never with a token beyond this machine; False is plain text
    whatever happens. Raises ValueError for such a token, for a file without a certificate or a key,
    and for a certificate that could not be shown; OSError for a file that cannot be read.
    """
    if certificate is not None:
        return _with_certificate(True if tls is None else tls, certificate)
    if tls is None and token is not None and not _is_this_machine(target):
        raise ValueError(
            f"the token would go to {target} in the clear: pass tls=True (or a file of "
            "certificate authorities), or tls=False if the network itself is trusted"
        )
    if tls is None or tls is False:
        return None
    if tls is True:
        return grpc.ssl_channel_credentials()
    if isinstance(tls, str | os.PathLike):
        return grpc.ssl_channel_credentials(_pem(tls, "CERTIFICATE"))
    if not isinstance(tls, grpc.ChannelCredentials):
        raise TypeError(f"tls is True, False, a path or credentials, not a {type(tls).__name__}")
    return tls


def _with_certificate(tls: Tls, certificate: Certificate) -> grpc.ChannelCredentials:
    if not (tls is True or isinstance(tls, str | os.PathLike)):
        raise ValueError(
            "a client certificate is for tls=True or a file of certificate authorities: without "
            "TLS there is nobody to show it to, and gRPC's own credentials have one of their own"
        )
    authorities = None if tls is True else _pem(tls, "CERTIFICATE")
    chain, key = _pem(certificate[0], "CERTIFICATE"), _pem(certificate[1], "PRIVATE KEY")
    return grpc.ssl_channel_credentials(authorities, key, chain)


def _pem(name: File, what: str) -> bytes:
    with open(name, "rb") as file:
        content = file.read()
    if not re.search(rb"-----BEGIN [A-Z0-9 ]*%s-----" % what.encode(), content):
        raise ValueError(f"{os.fspath(name)} holds no {what.lower()} in PEM form")
    return content


def bearer(token: str) -> str:
    """The header that carries a token. Raises TypeError or ValueError for what none can carry."""
    if not isinstance(token, str):
        raise TypeError(f"a token is a text, not a {type(token).__name__}")
    if not (token.isascii() and token.isprintable()):
        raise ValueError(
            "the token has characters that no header carries, such as the end of a line: strip it"
        )
    return f"Bearer {token}"


def _is_this_machine(target: str) -> bool:
    """Whether every address of the target is this machine's own."""
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    addresses = re.sub(r"^(dns:(//[^/]*/)?|ipv4:|ipv6:)", "", target)
    return all(_is_loopback(each) for each in addresses.split(","))


def _is_loopback(address: str) -> bool:
    return re.fullmatch(r"(localhost|127(\.\d+){3}|\[?::1\]?)(:\d+)?", address) is not None
