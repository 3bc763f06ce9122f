"""`turnkeep sessions` and `turnkeep clear`: sessions as a whole."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice

import click

from turnkeep import Cleared, SessionInfo
from turnkeep.cli import output
from turnkeep.cli.connection import Connection
from turnkeep.cli.options import json_option, session_option, user_option


@click.command()
@user_option
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@json_option
@click.pass_obj
def sessions(connection: Connection, user_id: str, limit: int | None, as_json: bool) -> None:
    """List a user's sessions, newest activity first.

    In a pipe: session, messages and time of the last activity, with tabs between; with --json one
    document a line.
    """
    with connection.client() as client:
        found = islice(client.sessions(user_id), limit)
        if as_json:
            for each in found:
                output.write_json(asdict(each))
        elif output.is_terminal():
            _write_table([*found])
        else:
            for each in found:
                moment = each.update_time.isoformat().replace("+00:00", "Z")
                output.write_line(f"{each.session_id}\t{each.message_count}\t{moment}")


def _write_table(found: Sequence[SessionInfo]) -> None:
    # rich takes 50 ms to import.
    from rich.console import Console
    from rich.table import Table

    table = Table("session", "messages", "last activity", box=None, pad_edge=False)
    for each in found:
        table.add_row(each.session_id, str(each.message_count), output.time_of(each.update_time))
    Console(markup=False, highlight=False).print(table if found else "no sessions")


@click.command()
@session_option()
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def clear(connection: Connection, session_id: str, user_id: str, yes: bool, as_json: bool) -> None:
    """Forget a session, for good.

    Asks first; where there is nobody to ask, --yes is needed.
    """
    if not yes:
        _ask(f"Forget session {session_id} for good?")
    with connection.client() as client:
        cleared = client.session(session_id, user_id).clear()
    if as_json:
        output.write_json(asdict(cleared))
    else:
        output.write_line(forgotten(cleared))


def forgotten(cleared: Cleared) -> str:
    """What was cleared, in words."""
    turns = output.count(cleared.cleared_turns, "turn")
    return f"forgot {output.count(cleared.cleared_messages, 'message')} in {turns}"


def _ask(question: str) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("there is nobody to ask: say --yes")
    click.confirm(question, abort=True, err=True)
