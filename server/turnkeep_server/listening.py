"""The gRPC servers of this process, and the addresses that they listen on."""

from collections.abc import Sequence

import grpc

from turnkeep_server.addresses import cannot_listen, check_free
from turnkeep_server.errors import StartupError
from turnkeep_server.health_servicer import HealthServicer
from turnkeep_server.settings import Settings

_LAST_ANSWER_SECONDS = 5.0

_CALLS = (
    # After a pause of the process more than 1,000 calls may stand at its door; gRPC would drop some
    # of them at random, with CANCELLED. Taken in, they are served, or told when to come again.
    ("grpc.server.max_pending_requests", 10_000),
    ("grpc.server.max_pending_requests_hard_limit", 20_000),
    # By default a header over 8 KiB is refused at random. Up to here it is auth that says so.
    ("grpc.max_metadata_size", 65_536),
    ("grpc.absolute_max_metadata_size", 65_536),
    # By default a fast connection may send megabytes to each stream before anybody reads from it,
    # and so before it is known whose they are. Without this it is 64 KiB, and all of a request as
    # soon as it is read.
    ("grpc.http2.bdp_probe", 0),
)


def conversation_server(
    settings: Settings, interceptors: Sequence[grpc.aio.ServerInterceptor], *, sharing: bool
) -> grpc.aio.Server:
    """The server of the service itself. `sharing`: its address, with other workers."""
    return grpc.aio.server(
        interceptors=interceptors,
        options=(
            *_CALLS,
            *_connection_options(settings),
            _reuse_port(sharing),
            # Over the limits on a request, so that it is validation that refuses and names it.
            ("grpc.max_receive_message_length", 4 * settings.max_added_bytes),
        ),
    )


def health_server(servicer: HealthServicer, *, sharing: bool) -> grpc.aio.Server:
    """A server that answers health checks and nothing else, to whoever asks."""
    server = grpc.aio.server(
        options=(
            _reuse_port(sharing),
            # Nobody is asked who he is: what one prober may take is little.
            ("grpc.max_concurrent_streams", 10),
            ("grpc.max_receive_message_length", 4_096),
        )
    )
    servicer.add_to(server)
    return server


def bind(
    server: grpc.aio.Server,
    listen: str,
    credentials: grpc.ServerCredentials | None = None,
    *,
    sharing: bool,
    variable: str = "TURNKEEP_LISTEN",
) -> str:
    """Has the server listen there; the address, with the port that 0 became.

    Raises StartupError with the remedy. An address that is shared was reserved for it before.
    """
    try:
        if not sharing:
            check_free(listen)
        port = (
            server.add_secure_port(listen, credentials)
            if credentials
            else server.add_insecure_port(listen)
        )
    except (RuntimeError, OSError) as error:
        raise StartupError(cannot_listen(listen, error, variable)) from error
    return listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"


def _connection_options(settings: Settings) -> list[tuple[str, int]]:
    options = [
        # Unlimited by default: one connection could open any number of streams.
        ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
        # A caller that is gone without a word is noticed, and its turn ends CANCELLED.
        ("grpc.keepalive_time_ms", _ms(settings.keepalive_seconds)),
        ("grpc.keepalive_timeout_ms", _ms(settings.keepalive_timeout_seconds)),
        # By default only two of them in a row, while no data are sent.
        ("grpc.http2.max_pings_without_data", 0),
        # Clients may ping idle connections this often without being called abusive.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
    if age := settings.max_connection_age_seconds:
        # gRPC spreads the age by a tenth either way, so that not all connect anew together. Calls
        # that run then go on: no call is longer than what is left to the old connection.
        longest = max(settings.max_timeout_seconds, settings.default_timeout_seconds)
        options += [
            ("grpc.max_connection_age_ms", _ms(age)),
            ("grpc.max_connection_age_grace_ms", _ms(longest + _LAST_ANSWER_SECONDS)),
        ]
    return options


def _reuse_port(sharing: bool) -> tuple[str, int]:
    # On by default, it lets a second server bind the same port in silence.
    return "grpc.so_reuseport", int(sharing)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
