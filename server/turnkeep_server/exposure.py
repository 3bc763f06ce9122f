"""Who can reach the server, and what it must have before everybody can.

Turnkeep holds what people said in confidence. Beyond this machine it therefore serves only with TLS
and identity, both: a token in the clear is anybody's, and encryption alone keeps nobody out.
"""

import ipaddress
import socket

import structlog

from turnkeep_server.addresses import cannot_listen
from turnkeep_server.errors import SettingsError, StartupError
from turnkeep_server.settings import Settings


def check_exposure(settings: Settings) -> None:
    """Raises SettingsError if the server would be open to others; with TURNKEEP_INSECURE it warns.

    Raises StartupError for a host name that is not known: where it leads nobody can tell.
    """
    if has_open_metrics(settings):
        structlog.get_logger().warning(
            "metrics_open",
            listen=settings.metrics_listen,
            problem="whoever reaches it reads tenants' names, and what each of them uses and costs",
            remedy="let the scraper alone reach it (a firewall, a NetworkPolicy), or listen on "
            "127.0.0.1",
        )
    problem = what_is_open(settings, beyond=reaches_beyond_this_machine(settings.listen))
    if not problem:
        return
    if not settings.insecure:
        raise SettingsError(
            f"TURNKEEP_LISTEN={settings.listen} can be reached from beyond this machine, and "
            f"{problem}. Or listen on 127.0.0.1; or set TURNKEEP_INSECURE=1 if the network itself "
            "is trusted"
        )
    structlog.get_logger().warning("insecure", listen=settings.listen, problem=problem)


def what_is_open(settings: Settings, *, beyond: bool) -> str:
    """What is open to others on an address that is reached from `beyond` this machine, each with
    its remedy; "" if nothing is.
    """
    if not beyond:
        return ""
    open_ = []
    if not has_tls(settings):
        open_.append(
            "calls and tokens would travel in the clear (no TLS: set "
            "TURNKEEP_TLS_CERTIFICATE_FILE and TURNKEEP_TLS_KEY_FILE)"
        )
    if not settings.identity:
        open_.append(
            "whoever reaches it could read and write every session (no identity: set "
            "TURNKEEP_KEYS_FILE, TURNKEEP_JWT_JWKS, or for client certificates "
            "TURNKEEP_TLS_CLIENT_CA_FILE and TURNKEEP_MTLS_TENANT)"
        )
    return ", and ".join(open_)


def has_open_metrics(settings: Settings) -> bool:
    """Whether Prometheus' port, which has neither TLS nor identity, can be reached from elsewhere.

    Raises StartupError for a host name that is not known.
    """
    listen = settings.metrics_listen
    return listen is not None and reaches_beyond_this_machine(listen, "TURNKEEP_METRICS_LISTEN")


def has_tls(settings: Settings) -> bool:
    """Whether calls are encrypted."""
    return settings.tls_certificate_file is not None


def described_security(settings: Settings) -> str:
    """For the line that says that the server serves."""
    tls = "mTLS" if settings.tls_client_ca_file else "TLS" if has_tls(settings) else "no TLS"
    return f"{tls}, {'identity' if settings.identity else 'no identity'}"


def reaches_beyond_this_machine(listen: str, variable: str = "TURNKEEP_LISTEN") -> bool:
    """Whether any address that HOST:PORT or unix:PATH means is other than a loopback one.

    `variable`: the setting that says it, for messages.

    Raises StartupError for a host name that is not known.
    """
    if listen.startswith("unix:"):
        return False
    host = listen.rpartition(":")[0].strip("[]")
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise StartupError(cannot_listen(listen, error, variable)) from error
    return not all(_is_loopback(str(address[0])) for *_, address in found)


def _is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
