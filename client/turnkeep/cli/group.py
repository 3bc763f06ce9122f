"""The command `turnkeep`: what all its commands share, and how each of them ends."""

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from turnkeep import TurnkeepError, __version__
from turnkeep.cli import failures, output
from turnkeep.cli.add import add
from turnkeep.cli.chat import chat
from turnkeep.cli.completion import completion
from turnkeep.cli.connection import Connection, certificate_of, server_of, tls_of, token_of
from turnkeep.cli.doctor import doctor
from turnkeep.cli.exporting import export
from turnkeep.cli.history import history
from turnkeep.cli.importing import import_
from turnkeep.cli.preview import preview
from turnkeep.cli.send import send
from turnkeep.cli.sessions import clear, sessions

_INTERRUPTED, _BROKEN_PIPE = 130, 141


class _Turnkeep(click.Group):
    """The group, in whose hands every command ends: with a line on stderr and an exit code."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        output.keep_streams()
        given = [*(sys.argv[1:] if args is None else args)]
        as_json = "--json" in given
        output.speak_utf8()
        try:
            code = super().main(given, *rest, **{**extra, "standalone_mode": False})
        except TurnkeepError as error:
            code = failures.tell(error, as_json=as_json)
        except click.ClickException as error:
            code = failures.tell_usage(error, as_json=as_json)
        except click.Abort:
            code = _INTERRUPTED
        except OSError as error:
            # Such as a disk that is full. What is still in the buffer would fail again at the end.
            output.discard()
            code = failures.tell_system(error, as_json=as_json)
        sys.exit(code or 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # `turnkeep history | head`: nobody reads on. Nothing is left to say, nor to flush.
            output.discard()
            raise click.exceptions.Exit(_BROKEN_PIPE) from None


@click.group(
    cls=_Turnkeep,
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done · 1 failed, and would fail again · 2 wrong usage or input · "
    "3 nobody could answer in time: try later · 130 ctrl-C · 141 the reader of a pipe is gone.",
)
@click.version_option(__version__, prog_name="turnkeep")
@click.option(
    "--server",
    "-s",
    envvar="TURNKEEP_SERVER",
    default="127.0.0.1:50051",
    show_default=True,
    show_envvar=True,
    help="host:port, or any gRPC target.",
)
@click.option(
    "--token-file",
    envvar="TURNKEEP_TOKEN_FILE",
    show_envvar=True,
    type=click.Path(),
    help="A file that holds the token. Or the token itself in TURNKEEP_TOKEN; never in an "
    "argument, which every user of the machine can read.",
)
@click.option(
    "--tls/--no-tls",
    default=None,
    envvar="TURNKEEP_TLS",
    show_envvar=True,
    help="Encrypt, by the system's certificate authorities; or send a token in the clear.",
)
@click.option(
    "--ca-file",
    envvar="TURNKEEP_CA_FILE",
    show_envvar=True,
    type=click.Path(),
    help="Encrypt, by the certificate authorities in this PEM file.",
)
@click.option(
    "--certificate-file",
    envvar="TURNKEEP_CERTIFICATE_FILE",
    show_envvar=True,
    type=click.Path(),
    help="Your own certificate, a PEM file, for a server that asks for one.",
)
@click.option(
    "--certificate-key-file",
    envvar="TURNKEEP_CERTIFICATE_KEY_FILE",
    show_envvar=True,
    type=click.Path(),
    help="The PEM file of its key.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=86_400),
    metavar="SECONDS",
    help="For each call, all its attempts together.  [default: 300 for a turn, else 30]",
)
@click.pass_context
def turnkeep(
    ctx: click.Context,
    server: str,
    token_file: str | None,
    tls: bool | None,
    ca_file: str | None,
    certificate_file: str | None,
    certificate_key_file: str | None,
    timeout: float | None,
) -> None:
    """Talk with a Turnkeep server.

    Every turn is kept, in one order, exactly once; ctrl-C keeps the text that has come.
    """
    certificate = certificate_of(certificate_file, certificate_key_file)
    if certificate and tls is None:
        tls = True
    tls_or_file = tls_of(tls, ca_file)
    token = token_of(token_file)
    ctx.obj = Connection(server_of(server), token, tls_or_file, timeout, certificate)


for _command in (
    *(chat, send, history, sessions, add, clear),
    *(preview, doctor, export, import_, completion),
):
    turnkeep.add_command(_command)
