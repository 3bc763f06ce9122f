"""Options that several commands share."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from turnkeep import TurnOptions

_Command = TypeVar("_Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for programs.")

user_option = click.option(
    "--user",
    "-u",
    "user_id",
    envvar="TURNKEEP_USER",
    show_envvar=True,
    default="",
    help="Whose sessions; without one, those of nobody.",
)

request_id_option = click.option(
    "--request-id",
    help="The idempotency key: the same one again is the same turn, however often it is sent.",
)


def session_option(
    *, required: bool = True, text: str = "The session."
) -> Callable[[_Command], _Command]:
    """--session, with --user beside it: together they name a session."""

    def options(command: _Command) -> _Command:
        option = click.option("--session", "-S", "session_id", required=required, help=text)
        return option(user_option(command))

    return options


def turn_options(command: _Command) -> _Command:
    """How a turn is run: --prompt, --var, --model."""
    for option in (
        click.option("--model", help="One of the models that the server allows."),
        click.option(
            "--var",
            "variables",
            multiple=True,
            callback=_variables,
            metavar="NAME=TEXT",
            help="A variable of the prompt; may be given again for another.",
        ),
        click.option("--prompt", help="One of the server's prompts.  [default: default]"),
    ):
        command = option(command)
    return command


def options_of(
    prompt: str | None, variables: Mapping[str, str], model: str | None, timeout_seconds: float
) -> TurnOptions:
    """The library's options of a turn."""
    options = TurnOptions(variables=variables, timeout_seconds=timeout_seconds)
    if prompt:
        options["prompt"] = prompt
    if model:
        options["model"] = model
    return options


def _variables(
    ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    """NAME=TEXT pairs as a mapping; the text may hold further = signs."""
    for each in given:
        if not each.partition("=")[0] or "=" not in each:
            raise click.BadParameter(f"write NAME=TEXT, such as topic=math, not {each!r}")
    return {name: text for name, _, text in (each.partition("=") for each in given)}
