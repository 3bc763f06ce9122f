"""`turnkeep history`: what was said in a session."""

from itertools import islice

import click

from turnkeep import FilePart, ImagePart, Message, TextPart
from turnkeep.cli import documents, output
from turnkeep.cli.connection import Connection
from turnkeep.cli.options import json_option, session_option

_PAGE_SIZE = 200


@click.command()
@session_option()
@click.option("--newest-first", is_flag=True, help="From the last message back.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, in that order.")
@click.option("--unfinished", is_flag=True, help="Failed and cancelled turns too.")
@json_option
@click.pass_obj
def history(
    connection: Connection,
    session_id: str,
    user_id: str,
    newest_first: bool,
    limit: int | None,
    unfinished: bool,
    as_json: bool,
) -> None:
    """Show what was said; with --json one message a line."""
    with connection.client() as client:
        messages = client.session(session_id, user_id).messages(
            newest_first=newest_first,
            include_unfinished=unfinished,
            page_size=min(limit or _PAGE_SIZE, _PAGE_SIZE),
        )
        for each in islice(messages, limit):
            if as_json:
                output.write_json(documents.document_of(each))
            else:
                output.write(shown(each))


def shown(message: Message) -> str:
    """A message for people: a line about it, its text, an empty line."""
    status = "" if message.status in {"completed", "unspecified"} else message.status
    about = (
        *(f"{message.sequence}" if message.sequence else "", message.role, message.name),
        *(output.time_of(message.create_time), status),
    )
    lines = [" · ".join(each for each in about if each), *_content(message)]
    return "\n".join(lines) + "\n\n"


def _content(message: Message) -> list[str]:
    lines = [message.text] if message.text else []
    for part in message.parts:
        match part:
            case TextPart(text):
                lines.append(text)
            case ImagePart(url):
                lines.append(f"[image {url[:80]}{'…' if len(url) > 80 else ''}]")
            case FilePart(name, media_type, data):
                lines.append(f"[file {name or '(no name)'}, {media_type}, {len(data)} bytes]")
    lines += [f"[calls {each.name}({each.arguments_json})]" for each in message.tool_calls]
    return lines
