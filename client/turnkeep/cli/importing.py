"""`turnkeep import`: a session out of JSON lines, once however often it is run."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import click

from turnkeep import Message, TurnkeepError
from turnkeep.cli import documents, inputs, output
from turnkeep.cli.connection import Connection
from turnkeep.cli.options import json_option, session_option

_DIGEST_CHARS = 48


class Turn(NamedTuple):
    """Messages that go in as one turn, the line they begin on, and the key that makes it one."""

    line: int
    messages: tuple[Message, ...]
    request_id: str


@click.command("import")
@click.argument("path", metavar="FILE", type=click.Path(allow_dash=True))
@session_option()
@json_option
@click.pass_obj
def import_(
    connection: Connection, path: str, session_id: str, user_id: str, as_json: bool
) -> None:
    """Append messages of JSON lines, as `export` writes them.

    Messages with the same sequence become one turn; without sequences, a turn begins at each
    message of a user. Failed and cancelled turns are left out: what is added counts as complete. An
    import that broke off can be run again: what is in the session already is not added twice. FILE
    may be - for stdin.
    """
    lines = inputs.read_text(path).split("\n")
    turns, left_out = turns_in(lines, "stdin" if path == inputs.STDIN else path)
    again = 0
    with connection.client() as client, output.progress("turns", len(turns)) as step:
        session = client.session(session_id, user_id)
        for turn in output.counted(turns, step):
            try:
                added = session.add(turn.messages, request_id=turn.request_id)
            except TurnkeepError as error:
                error.message += f" (line {turn.line} of {path}; the turns before it are in)"
                raise
            again += added.replayed
    figures = {"turns": len(turns) - again, "there_already": again, "unfinished_left_out": left_out}
    if as_json:
        output.write_json(figures)
        return
    line = f"{output.count(len(turns) - again, 'turn')} added, {again} there already"
    if left_out:
        line += f", {output.count(left_out, 'message')} of unfinished turns left out"
    output.write_line(line)


def turns_in(lines: Iterable[str], source: str) -> tuple[list[Turn], int]:
    """The turns, and how many messages of unfinished ones were left out.

    A turn's request_id is a digest of its place and its messages: the same file gives the same
    ones, and a file that has grown at its end the same ones for its beginning. Raises UsageError.
    """
    groups: list[tuple[int, Any, list[Message]]] = []
    left_out = 0
    for number, document, message in documents.messages_in(lines, source):
        if document.get("status", "completed") != "completed":
            left_out += 1
            continue
        sequence = document.get("sequence")
        if groups and _goes_on(groups[-1][1], sequence, message):
            groups[-1][2].append(message)
        else:
            groups.append((number, sequence, [message]))
    return [
        Turn(number, tuple(messages), _request_id(place, messages))
        for place, (number, _, messages) in enumerate(groups, 1)
    ], left_out


def _goes_on(last_sequence: Any, sequence: Any, message: Message) -> bool:
    """Whether a message belongs to the turn of the one before it."""
    if sequence is None and last_sequence is None:
        return message.role != "user"
    return bool(sequence == last_sequence)


def _request_id(place: int, messages: Sequence[Message]) -> str:
    said = json.dumps([place, *map(documents.document_of, messages)], sort_keys=True)
    return f"import-{hashlib.sha256(said.encode()).hexdigest()[:_DIGEST_CHARS]}"
