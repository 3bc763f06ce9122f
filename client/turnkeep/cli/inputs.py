"""What a command is given to read: arguments, standard input, files."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

STDIN = "-"


def text_of(words: Sequence[str]) -> str:
    """The text that the arguments make: words, with what stdin holds in the place of each "-".

    Without any, it is what is piped in. Standard input is read only if it is named or alone: a
    command in a loop that reads lines must not swallow the rest of them. Raises UsageError for
    nothing, or for what is no text.
    """
    if not words:
        if sys.stdin.isatty():
            raise click.UsageError("what is to be sent? Give the text, or - to read it from stdin.")
        words = (STDIN,)
    paragraphs: list[list[str]] = [[]]
    for word in words:
        if word == STDIN:
            paragraphs += [[read_text(STDIN).rstrip("\r\n")], []]
        else:
            paragraphs[-1].append(argument(word))
    text = "\n\n".join(" ".join(each) for each in paragraphs if each)
    if not text.strip():
        raise click.UsageError("the text is empty: there is nothing to send")
    return text


def argument(word: str) -> str:
    """An argument as text. Raises UsageError for bytes that are no UTF-8."""
    try:
        word.encode()
    except UnicodeEncodeError:
        raise click.UsageError("an argument is no UTF-8 text") from None
    return word


def read_text(path: str) -> str:
    """The text of a file, or of stdin for "-".

    Raises UsageError where it cannot be read, or is no UTF-8: a text with holes in it would be kept
    for good, and nobody would know.
    """
    name = "stdin" if path == STDIN else path
    try:
        data = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except OSError as error:
        raise click.UsageError(f"cannot read {name}: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise click.UsageError(
            f"{name} is no UTF-8 text, from line {line} on (byte {error.start}); "
            "convert it first, such as by iconv"
        ) from None
