"""`turnkeep preview`: what the model would be sent."""

from collections.abc import Mapping
from dataclasses import asdict

import click

from turnkeep import ContextReport
from turnkeep.cli import documents, inputs, output
from turnkeep.cli.connection import Connection
from turnkeep.cli.history import shown
from turnkeep.cli.options import json_option, options_of, session_option, turn_options


@click.command()
@click.argument("words", metavar="[TEXT | -]...", nargs=-1)
@session_option()
@turn_options
@json_option
@click.pass_obj
def preview(
    connection: Connection,
    words: tuple[str, ...],
    session_id: str,
    user_id: str,
    prompt: str | None,
    variables: Mapping[str, str],
    model: str | None,
    as_json: bool,
) -> None:
    """Show what `send` would send to the model.

    Asks no model and stores nothing.
    """
    text = inputs.text_of(words)
    options = options_of(prompt, variables, model, connection.call_seconds)
    with connection.client() as client:
        seen = client.session(session_id, user_id).preview(text, **options)
    if as_json:
        output.write_json(
            {
                "messages": [documents.document_of(each) for each in seen.messages],
                "context": asdict(seen.context),
                "model": seen.model,
            }
        )
        return
    for each in seen.messages:
        output.write(shown(each))
    output.write_line(f"{seen.model}: {context_line(seen.context)}")


def context_line(report: ContextReport) -> str:
    """A ContextReport in words."""
    summary = ", a summary stands in for them" if report.summary_used else ""
    return (
        f"{output.count(report.included_messages, 'message')} of the history sent, "
        f"{report.omitted_messages} left out{summary}; "
        f"about {report.estimated_input_tokens} tokens in all"
    )
