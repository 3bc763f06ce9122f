"""`turnkeep add`: messages without a reply."""

from dataclasses import replace

import click

from turnkeep import Message
from turnkeep.cli import documents, inputs, output
from turnkeep.cli.connection import Connection
from turnkeep.cli.options import json_option, request_id_option, session_option

_ROLES = click.Choice(["user", "assistant", "system"])


@click.command()
@click.argument("words", metavar="[TEXT | -]...", nargs=-1)
@session_option()
@click.option("--role", type=_ROLES, help="Who speaks.  [default: user]")
@request_id_option
@json_option
@click.pass_obj
def add(
    connection: Connection,
    words: tuple[str, ...],
    session_id: str,
    user_id: str,
    role: str | None,
    request_id: str | None,
    as_json: bool,
) -> None:
    """Append messages as one turn, without asking the model.

    \b
    turnkeep add --session 7 --role assistant "Добрый день!"
    turnkeep add --session 7 - < messages.jsonl

    With - alone, standard input holds a message a line, in JSON, as `export` writes them:
    {"role": "user", "text": "Hi"}. They become one turn, all or nothing.
    """
    messages = _from_stdin(role) if words in {(), (inputs.STDIN,)} else [_said(words, role)]
    with connection.client() as client:
        added = client.session(session_id, user_id).add(messages, request_id=request_id)
    if as_json:
        output.write_json(
            {
                "session_id": session_id,
                "sequence": added.sequence,
                "messages": [documents.document_of(each) for each in added.messages],
                "replayed": added.replayed,
                "request_id": added.request_id,
            }
        )
    else:
        again = ", as before" if added.replayed else ""
        messages_added = output.count(len(added.messages), "message")
        output.write_line(f"added {messages_added} as turn {added.sequence}{again}")


def _said(words: tuple[str, ...], role: str | None) -> Message:
    message = Message("user", inputs.text_of(words))
    return replace(message, role=role) if role else message  # type: ignore[arg-type]  # click checked


def _from_stdin(role: str | None) -> list[Message]:
    if role:
        raise click.UsageError("--role is for a TEXT; messages on stdin have roles of their own")
    # Not splitlines(): a text may hold other separators of lines, such as U+2028.
    lines = inputs.read_text(inputs.STDIN).split("\n")
    messages = [message for _, _, message in documents.messages_in(lines, "stdin")]
    if not messages:
        raise click.UsageError("stdin is empty: there is no message to add")
    return messages
