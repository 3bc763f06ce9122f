"""`turnkeep doctor`: why does it not work?"""

import sys

import click

from turnkeep.cli import failures, output
from turnkeep.cli.connection import Connection
from turnkeep.cli.options import json_option


@click.command()
@json_option
@click.pass_obj
def doctor(connection: Connection, as_json: bool) -> None:
    """Check the way to the server, one line a check.

    Is it reached? By TLS? Does it take the token, is it healthy, do versions and clocks agree?
    Where a check fails, the line says what to do, and the exit code is 1.
    """
    from turnkeep.cli.checks import checked

    failed = False
    found = []
    for check in checked(connection):
        failed = failed or check.verdict == "failed"
        found.append(check)
        if not as_json:
            remedy = f"; {check.remedy}" if check.remedy else ""
            output.write_line(f"{check.verdict:<8} {check.name:<8} {check.told}{remedy}")
    if as_json:
        output.write_json(
            {
                "server": connection.server,
                "ok": not failed,
                "checks": [check._asdict() for check in found],
            }
        )
    if failed:
        sys.exit(failures.FAILED)
