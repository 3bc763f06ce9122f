"""`turnkeep-server import-langchain`: opens both ends, shows how far it is, tells the outcome."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import click

from turnkeep_server.caller import NAME
from turnkeep_server.errors import SettingsError, StartupError
from turnkeep_server.history.stores import opened_store
from turnkeep_server.migration.langchain_import import ImportOptions, LangChainImport
from turnkeep_server.migration.report import Report
from turnkeep_server.migration.sources import Source, SourceLost, SourceOptions, opened_source
from turnkeep_server.settings import Settings
from turnkeep_server.validation import session_violations

_MESSAGES_A_STEP = 100


async def import_langchain(settings: Settings, given: Mapping[str, Any]) -> bool:
    """Whether everything that the source holds is there now; the report is on stdout.

    `given`: the command's options, by the names of SourceOptions and ImportOptions, and `dry_run`
    and `as_json`. Raises SettingsError or StartupError where either end cannot be opened.
    """
    where, how = (
        SourceOptions(**_of(SourceOptions, given)),
        ImportOptions(**_of(ImportOptions, given)),
    )
    if wrong := list(session_violations("any", how.user_id, settings)):
        raise SettingsError(f"--user-id {wrong[0].description}")
    if not NAME.fullmatch(how.tenant):
        raise SettingsError("--tenant must be 1 to 128 printable ASCII characters without a space")
    dry_run = given["dry_run"]
    report = Report(tell=lambda problem: click.echo(f"not imported: {problem}", err=True))
    async with AsyncExitStack() as stack:
        source = await stack.enter_async_context(opened_source(where))
        store = None
        if not dry_run:
            opening = opened_store(
                settings.history_url,
                lease_seconds=settings.lease_seconds,
                operation_timeout_seconds=settings.history_timeout_seconds,
            )
            store = await stack.enter_async_context(opening)
        read = stack.enter_context(_progress(await _messages_to_watch(source)))
        work = LangChainImport(source, store, report, options=how, limits=settings, read=read)
        await work.run()
    if given["as_json"]:
        click.echo(json.dumps({"dry_run": dry_run, **report.as_json()}, ensure_ascii=False))
    else:
        click.echo("\n".join(report.lines(dry_run=dry_run)))
    return report.complete


def _of(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    return {each.name: given[each.name] for each in dataclasses.fields(kind)}


async def _messages_to_watch(source: Source) -> int | None:
    """How many there are; None if nobody watches. Raises StartupError."""
    try:
        return await source.count() if sys.stderr.isatty() else None
    except SourceLost as error:
        raise StartupError(str(error)) from error


@contextmanager
def _progress(messages: int | None) -> Iterator[Callable[[], None]]:
    """What to call for each message that was read; moves a bar if somebody watches."""
    if messages is None:
        yield lambda: None
        return
    with click.progressbar(
        length=messages,
        label="importing messages",
        file=sys.stderr,
        update_min_steps=_MESSAGES_A_STEP,
        show_pos=True,
    ) as bar:
        yield lambda: bar.update(1)
