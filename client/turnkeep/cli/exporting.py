"""`turnkeep export`: a session as JSON lines."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import click

from turnkeep.cli import documents, output
from turnkeep.cli.connection import Connection
from turnkeep.cli.options import json_option, session_option


@click.command()
@session_option()
@click.option("--output", "-o", "path", type=click.Path(), help="The file; without one, stdout.")
@click.option("--unfinished", is_flag=True, help="Failed and cancelled turns too.")
@json_option
@click.pass_obj
def export(
    connection: Connection,
    session_id: str,
    user_id: str,
    path: str | None,
    unfinished: bool,
    as_json: bool,
) -> None:
    """Write a session as JSON lines, one message a line, for `import`.

    A file appears once it is whole. --json changes only how errors are told: the messages are JSON
    anyway.
    """
    written = 0
    with connection.client() as client, _opened(path) as file:
        messages = client.session(session_id, user_id).messages(include_unfinished=unfinished)
        # A bar would run into the messages where both go to the terminal.
        shown = path is not None or not output.is_terminal()
        with output.progress("messages", None, shown=shown) as step:
            for each in output.counted(messages, step):
                file.write(output.json_of(documents.document_of(each)) + "\n")
                written += 1
    if path and not as_json:
        click.echo(f"{output.count(written, 'message')} written to {path}", err=True)


@contextlib.contextmanager
def _opened(path: str | None) -> Iterator[IO[str]]:
    """Stdout, or a file that takes its name when all is in it; only its owner may read it."""
    if path is None:
        yield sys.stdout
        sys.stdout.flush()  # here, where a reader that is gone is still noticed in quiet
        return
    partial = Path(f"{path}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)
