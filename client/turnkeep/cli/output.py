"""What is written: text that cannot harm a terminal, JSON in UTF-8, and progress for people."""

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

import click

_Item = TypeVar("_Item")

# A model's text is not the terminal's master: an escape sequence in it could retitle the window, or
# write over what stands there. Control characters are shown by the pictures that Unicode has of
# them; a carriage return is left out.
_PICTURES = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
_SAFE: dict[int, str | None] = {
    **_PICTURES,
    **dict.fromkeys(range(0x7F, 0xA0), "\N{REPLACEMENT CHARACTER}"),
    ord("\r"): None,
}


def printable(text: str) -> str:
    """A text that a terminal prints as text, whatever it holds."""
    return text.translate(_SAFE)


def keep_streams() -> None:
    """Gives whatever of stdin, stdout and stderr was closed (`<&-`) the null device.

    Else Python has None there, and the next connection gets the number: what is written to stderr
    would go to the server.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            # Closed by nobody, as those that the process began with.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def discard() -> None:
    """Has whatever is still to be written to stdout go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def speak_utf8() -> None:
    """Pipes and files get UTF-8 wherever they lead; a terminal what it can show, else "?"."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            if stream.isatty():
                stream.reconfigure(errors="replace")
            else:
                stream.reconfigure(encoding="utf-8", errors="replace")


def is_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout.isatty()


def write(text: str) -> None:
    """A piece of text on stdout, at once; as it is for a pipe, printable for a terminal."""
    # Not click.echo: into a pipe it leaves out whatever looks like a colour.
    sys.stdout.write(printable(text) if is_terminal() else text)
    sys.stdout.flush()


def write_line(text: str = "") -> None:
    """A line on stdout."""
    write(f"{text}\n")


def write_json(document: object, *, err: bool = False) -> None:
    """One JSON document, on one line."""
    click.echo(printable(json_of(document)), err=err)


def json_of(document: object) -> str:
    """A document as one line of JSON; times are RFC 3339, in UTC."""
    return json.dumps(document, ensure_ascii=False, default=_plain)


@contextmanager
def progress(what: str, total: int | None, *, shown: bool = True) -> Iterator[Any]:
    """Gives a function to call after each step; a bar on stderr, if that is a terminal.

    `total` is the number of steps, None if nobody knows. What is not `shown` only counts.
    """
    if not (shown and sys.stderr.isatty()):
        yield lambda: None
        return
    # rich takes 50 ms to import.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def counted(items: Iterable[_Item], step: Any) -> Iterator[_Item]:
    """The items, with a step of progress after each."""
    for each in items:
        yield each
        step()


def count(number: int, noun: str) -> str:
    """Such as "1 turn", "2 turns"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def time_of(moment: datetime | None) -> str:
    """A time for people: theirs, to the minute; "" if there is none."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}" if moment else ""


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise TypeError(type(value).__name__)
