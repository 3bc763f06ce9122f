"""`turnkeep-server backup` and `restore`: the jobs behind the commands, and what they tell."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from turnkeep_server.errors import StartupError
from turnkeep_server.history.mongodb_backup import opened_connection, read_backup, write_backup
from turnkeep_server.history.stores import opened_store
from turnkeep_server.settings import Settings


async def back_up(settings: Settings, name: str) -> None:
    """Writes all turns to the file of that name, - for stdout.

    Raises SettingsError or StartupError, each with the remedy; the file is then as it was.
    """
    url = settings.history_url.get_secret_value()
    async with opened_connection(url, settings.history_timeout_seconds) as connection:
        with _written_whole(name) as file:
            counted = await write_backup(connection, file)
    # Not on stdout, where the backup itself may go.
    click.echo(f"backed up: {counted.turns} turns, {counted.messages} messages", err=True)


async def restore(settings: Settings, file: IO[bytes]) -> None:
    """Stores all turns of `file`, then lists the sessions anew.

    Raises SettingsError or StartupError, each with the remedy; the latter too if a turn's place is
    taken by another one: the history is then a mixture that nobody wants.
    """
    url = settings.history_url.get_secret_value()
    async with opened_connection(url, settings.history_timeout_seconds) as connection:
        counted = await read_backup(connection, file)
    async with opened_store(
        settings.history_url,
        lease_seconds=settings.lease_seconds,
        operation_timeout_seconds=settings.history_timeout_seconds,
    ) as store:
        sessions = await store.repair()
    click.echo(
        f"restored: {counted.turns} turns, {counted.messages} messages; {sessions} sessions"
        + (f"; {counted.already_there} turns were there" if counted.already_there else "")
    )
    if counted.conflicts:
        raise StartupError(
            f"{counted.conflicts} turns were left out: other turns have their places or "
            "request_ids. Restore into an empty database"
        )


@contextmanager
def _written_whole(name: str) -> Iterator[IO[bytes]]:
    """What to write to: half a backup is none, so the file has its name only once all is on disk.

    Its owner alone may read it: it holds what people said in confidence.
    """
    if name == "-":
        yield sys.stdout.buffer
        return
    partial = Path(f"{name}.partial")
    try:
        partial.unlink(missing_ok=True)  # its mode might be another
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(name)
    except OSError as error:
        raise StartupError(f"cannot write {name}: {(error.strerror or 'error').lower()}") from error
    finally:
        partial.unlink(missing_ok=True)
