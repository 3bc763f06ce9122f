"""How a command reaches the server: the options of the group, and the clients made of them."""

import os
from dataclasses import dataclass
from pathlib import Path

import click
import grpc

from turnkeep import client as asynchronous
from turnkeep import sync
from turnkeep.channel import Certificate, Tls, credentials

TURN_SECONDS = 300.0
CALL_SECONDS = 30.0
# A server that is not there is said so after about a second of back-off, not when the time is up.
MAX_ATTEMPTS = 5
_LAST_PORT = 65_535
_NO_TOKEN = "the token has characters that no token has: is it the right file?"  # noqa: S105  # none


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the server is, and who calls. `timeout_seconds` is None if it was not given."""

    server: str
    token: str | None
    tls: Tls
    timeout_seconds: float | None
    certificate: Certificate | None = None

    @property
    def turn_seconds(self) -> float:
        """How long a turn may take."""
        return self.timeout_seconds or TURN_SECONDS

    @property
    def call_seconds(self) -> float:
        """How long any other call may take."""
        return self.timeout_seconds or CALL_SECONDS

    def credentials(self) -> grpc.ChannelCredentials | None:
        """What a channel of one's own is secured with. Raises UsageError as `client` does."""
        try:
            return credentials(self.server, self.token, self.tls, self.certificate)
        except (ValueError, OSError) as error:
            raise _usage(error) from None

    def client(self) -> sync.ConversationClient:
        """A client that blocks. Raises UsageError where it would be unsafe or cannot be."""
        try:
            return sync.ConversationClient(
                self.server,
                token=self.token,
                tls=self.tls,
                certificate=self.certificate,
                timeout_seconds=self.call_seconds,
                max_attempts=MAX_ATTEMPTS,
            )
        except (ValueError, OSError) as error:
            raise _usage(error) from None

    def asynchronous_client(self) -> asynchronous.ConversationClient:
        """The same on asyncio."""
        try:
            return asynchronous.ConversationClient(
                self.server,
                token=self.token,
                tls=self.tls,
                certificate=self.certificate,
                timeout_seconds=self.call_seconds,
                max_attempts=MAX_ATTEMPTS,
            )
        except (ValueError, OSError) as error:
            raise _usage(error) from None


def server_of(server: str) -> str:
    """The address, as gRPC takes it. Raises UsageError for what is none, which gRPC would retry, or
    tell in a log of its own, or take for another port.
    """
    server = server.strip()
    if not server:
        raise click.UsageError("--server is empty: give it host:port")
    if server.startswith(("http://", "https://")):
        raise click.UsageError("--server takes host:port, without http:// (and --tls for https://)")
    port = server.rpartition(":")[2]
    if port.isdecimal() and not server.startswith("unix") and int(port) > _LAST_PORT:
        raise click.UsageError(f"--server: there is no port {port}; the last one is {_LAST_PORT}")
    return server


def token_of(file: str | None) -> str | None:
    """The token from the file, else from TURNKEEP_TOKEN; None if there is none.

    Raises UsageError for a file that cannot be read, and for what no header can carry.
    """
    try:
        token = Path(file).read_text("ascii") if file else os.environ.get("TURNKEEP_TOKEN", "")
    except OSError as error:
        raise _usage(error) from None
    except UnicodeDecodeError:
        raise click.UsageError(_NO_TOKEN) from None
    token = token.strip()
    if not (token.isascii() and token.isprintable()):
        raise click.UsageError(_NO_TOKEN)
    return token or None


def tls_of(tls: bool | None, ca_file: str | None) -> Tls:
    """What the client takes as `tls`. Raises UsageError for a file with nothing to use it for."""
    if ca_file and tls is False:
        raise click.UsageError("--ca-file is for TLS, and --no-tls is without: give one of them")
    return ca_file or tls


def certificate_of(file: str | None, key_file: str | None) -> tuple[str, str] | None:
    """The client's own certificate. Raises UsageError for one of the two files alone."""
    if file and key_file:
        return file, key_file
    if file or key_file:
        raise click.UsageError("--certificate-file and --certificate-key-file go together")
    return None


def _usage(error: Exception) -> click.UsageError:
    if isinstance(error, OSError):
        return click.UsageError(f"cannot read {error.filename}: {error.strerror}")
    # The library's words for a caller's program, in those of the command.
    text = str(error).replace("pass tls=True", "give --tls").replace("or tls=False", "or --no-tls")
    return click.UsageError(text.replace("(or a file of certificate authorities)", "or --ca-file"))
