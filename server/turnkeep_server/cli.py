"""The command line: `turnkeep-server` serves; its commands are for operators."""

import os
import sys
from typing import IO, Any

import click
import structlog

from turnkeep_server import __version__, event_loop
from turnkeep_server.errors import HistoryUnavailable, SettingsError, StartupError
from turnkeep_server.exit_codes import BAD_SETTINGS, FAILED
from turnkeep_server.exposure import check_exposure
from turnkeep_server.hangups import ignore_hangups
from turnkeep_server.logs import configure_logs
from turnkeep_server.setting_variables import described_settings, unknown_variables
from turnkeep_server.settings import Settings, check_model_key, load_settings


class _Command(click.Group):
    """A group whose help lists every setting, out of the settings themselves."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Settings, from the environment alone"):
            formatter.write_dl(
                [
                    (variable, f"{meaning}  [{default or 'not set'}]")
                    for variable, default, meaning in described_settings()
                ],
                col_max=40,
            )


@click.group(cls=_Command, invoke_without_command=True, context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name="turnkeep-server")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Turnkeep: a gRPC conversation service in which every turn is a transaction.

    Without a command it serves until SIGTERM or ctrl-C, then drains. It exits 0 after a clean
    drain, 2 on bad settings and 1 on anything else.
    """
    # Read when gRPC is imported. Else it writes a line about each handshake that fails, as anybody
    # can make it, into a log that is JSON.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    if ctx.invoked_subcommand is None:
        ignore_hangups()
        _run(_serve)


@main.command()
@click.option("--ask-model", is_flag=True, help="Have the model answer: costs a token.")
def check(*, ask_model: bool) -> None:
    """Try all that a start needs, and tell what a server would do.

    Reads files, reaches MongoDB and the model's provider; writes nothing and serves nothing. Exits
    0 if all is well, 2 on bad settings and 1 on anything else, after telling all of it.
    """

    async def job(settings: Settings) -> None:
        from turnkeep_server.checking import check as checked

        if code := await checked(settings, ask_model=ask_model):
            sys.exit(code)

    _run(job)


@main.command()
def repair() -> None:
    """Rebuild the list of sessions from the turns.

    Safe beside running servers, which need not be stopped (but for local://, which one process has
    to itself).
    """
    _run(_repair)


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
def backup(file: str) -> None:
    """Write every turn to FILE (- for stdout), as of this moment.

    Beside running servers (but for local://); needs to read the database only. The file is what
    mongodump --gzip writes for the collection `turns`. Exits 0 if all of it is in the file.
    """

    async def job(settings: Settings) -> None:
        from turnkeep_server.backup import back_up

        await back_up(settings, file)

    _run(job)


@main.command()
@click.argument("file", type=click.File("rb"))
def restore(file: IO[bytes]) -> None:
    """Store every turn of FILE (- for stdin), made by backup or mongodump; list the sessions anew.

    Into an empty database, or again after it was cut short: nothing that is there is changed.
    Exits 0 if all of it is there.
    """

    async def job(settings: Settings) -> None:
        from turnkeep_server.backup import restore as stored

        await stored(settings, file)

    _run(job)


@main.command("import-langchain")
@click.option(
    "--from",
    "url",
    envvar="LANGCHAIN_HISTORY_URL",
    required=True,
    metavar="URL",
    help="mongodb://…, sqlite:///PATH, or the path of a file or a folder of files. Better in the "
    "variable LANGCHAIN_HISTORY_URL if it holds a password.",
)
@click.option("--database", default="", help="MongoDB: the URL's, or chat_history.")
@click.option("--collection", default="", help="MongoDB: message_store.")
@click.option("--table", default="", help="SQLite: message_store.")
@click.option("--session-id-key", default="", help="Field or column: SessionId, session_id.")
@click.option("--history-key", default="", help="Field or column: History, message.")
@click.option("--encoding", default="utf-8", help="Files: their encoding.")
@click.option(
    "--session",
    "sessions",
    multiple=True,
    help="Only this one, any number of times; names a file's.",
)
@click.option("--tenant", default="default", help="Whose the sessions become: of which tenant,")
@click.option("--user-id", default="", help="and of which of its users.")
@click.option("--source-name", default="", help="What an earlier run called the same source.")
@click.option("--append", is_flag=True, help="Also to sessions that hold other turns, behind them.")
@click.option("--skip-unreadable", is_flag=True, help="Go on behind what cannot be imported.")
@click.option("--quote-session-ids", is_flag=True, help="Write what no id may hold as %XX.")
@click.option("--dry-run", is_flag=True, help="Read and count; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Report as one JSON object.")
def import_langchain(**given: Any) -> None:
    """Take over histories that LangChain stored.

    Reads what MongoDBChatMessageHistory, SQLChatMessageHistory or FileChatMessageHistory wrote into
    the store that TURNKEEP_HISTORY_URL names. Run it as often as you like: nothing is written
    twice. Exits 0 if all is there, 1 if something is not, 2 on bad options or settings.
    """

    async def take_over(settings: Settings) -> None:
        from turnkeep_server.migration import command

        if not await command.import_langchain(settings, given):
            sys.exit(FAILED)

    _run(take_over)


@main.group()
def key() -> None:
    """Make API keys, for the file of TURNKEEP_KEYS_FILE."""


@key.command("new")
@click.option("--tenant", required=True, help="Whose data its holder may touch.")
@click.option(
    "--role",
    type=click.Choice(["reader", "caller", "admin"]),
    default="caller",
    show_default=True,
    help="reader lists; caller runs turns, too; admin adds SYSTEM messages, too.",
)
@click.option("--user-id", help="The one user whose data its holder may touch.")
@click.option("--add-system", is_flag=True, help="Let a caller add SYSTEM messages.")
@click.option(
    "--days", type=click.IntRange(1, 36_500), help="Days until it expires; without, it never does."
)
@click.option("--id", "key_id", help="What logs call it; without, tenant and date.")
def new_key(**given: Any) -> None:
    """Make a key: its line for the file on stdout, the key itself, once, on stderr.

    turnkeep-server key new --tenant acme >> keys.jsonl
    """
    from turnkeep_server.credentials import keys

    try:
        made, line = keys.new_key(**given)
    except SettingsError as error:
        click.echo(f"turnkeep-server: {error}", err=True)
        sys.exit(BAD_SETTINGS)
    click.echo(line)
    click.echo("The key, shown only now: ", err=True, nl=False)
    click.echo(made, err=True)


@main.command()
@click.option(
    "--address",
    help="Server to ask, by TLS if this environment sets a certificate; default: on this machine, "
    "TURNKEEP_HEALTH_LISTEN in the clear, or TURNKEEP_LISTEN.",
)
def health(address: str | None) -> None:
    """Ask a running server for its health.

    Exits 0 if it can run a turn now, 1 if not.
    """

    async def ask(settings: Settings) -> None:
        from turnkeep_server.health_probe import probed

        asked, answer = await probed(settings, address)
        click.echo(f"{asked}: {answer}")
        if answer != "SERVING":
            sys.exit(FAILED)

    _run(ask)


def _run(job: Any) -> None:
    try:
        settings = load_settings()
        configure_logs(settings)
        for warning in unknown_variables():
            structlog.get_logger().warning("unknown_setting", problem=warning)
        event_loop.run(job(settings), settings)
    except SettingsError as error:
        click.echo(f"turnkeep-server: {error}", err=True)
        sys.exit(BAD_SETTINGS)
    except (StartupError, HistoryUnavailable) as error:
        click.echo(f"turnkeep-server: {error}", err=True)
        sys.exit(FAILED)
    except Exception:  # noqa: BLE001  # a bug: told without the exception's text, which may hold a secret
        structlog.get_logger().error("failed", exc_info=True)
        sys.exit(FAILED)


async def _serve(settings: Settings) -> None:
    check_model_key(settings)
    check_exposure(settings)
    if settings.workers > 1:
        from turnkeep_server.supervisor import Supervisor

        if not await Supervisor(settings).serve():
            sys.exit(FAILED)
        return
    # Read when gRPC is imported. mongod is forked beside its threads, and only execs: no handlers.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
    # Imported here: `--help` and `health` answer at once, without LangChain.
    from turnkeep_server.app import Server

    await Server(settings).serve()


async def _repair(settings: Settings) -> None:
    from turnkeep_server.history.stores import opened_store

    async with opened_store(
        settings.history_url,
        lease_seconds=settings.lease_seconds,
        operation_timeout_seconds=settings.history_timeout_seconds,
    ) as store:
        click.echo(f"repaired: {await store.repair()} sessions")
