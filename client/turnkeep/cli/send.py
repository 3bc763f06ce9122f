"""`turnkeep send`: one turn."""

from collections.abc import Mapping

import click

from turnkeep import TurnOptions
from turnkeep.cli import documents, inputs, output
from turnkeep.cli.connection import Connection
from turnkeep.cli.options import (
    json_option,
    options_of,
    request_id_option,
    session_option,
    turn_options,
)
from turnkeep.sync import Session


@click.command()
@click.argument("words", metavar="[TEXT | -]...", nargs=-1)
@session_option()
@turn_options
@request_id_option
@json_option
@click.pass_obj
def send(
    connection: Connection,
    words: tuple[str, ...],
    session_id: str,
    user_id: str,
    prompt: str | None,
    variables: Mapping[str, str],
    model: str | None,
    request_id: str | None,
    as_json: bool,
) -> None:
    """Send a text, and write the reply as it comes.

    \b
    turnkeep send --session 7 "Привет"
    cat notes.txt | turnkeep send --session 7 -
    turnkeep send --session 7 "Summarise:" - < notes.txt

    Standard input is read where - stands, or if there is no TEXT.
    """
    text = inputs.text_of(words)
    options = options_of(prompt, variables, model, connection.turn_seconds)
    if request_id:
        options["request_id"] = request_id
    with connection.client() as client:
        session = client.session(session_id, user_id)
        if as_json:
            output.write_json(documents.reply_document(session.chat(text, **options), session_id))
        else:
            _stream(session, text, options)


def _stream(session: Session, text: str, options: TurnOptions) -> None:
    """Whatever ends the block early, ctrl-C or a broken pipe, cancels the turn."""
    said = ""
    with session.stream(text, **options) as stream:
        try:
            for piece in stream:
                output.write(piece)
                said = piece
        finally:
            if said and not said.endswith("\n"):
                output.write_line()
