"""`turnkeep chat`: a conversation at the terminal."""

import os
import sys
import time
from collections.abc import Mapping

import click

from turnkeep import __version__
from turnkeep.cli import output
from turnkeep.cli.connection import Connection
from turnkeep.cli.options import options_of, session_option, turn_options


@click.command()
@session_option(required=False, text="The session; without one, a new one.")
@turn_options
@click.option(
    "--line-history/--no-line-history",
    default=True,
    envvar="TURNKEEP_LINE_HISTORY",
    show_envvar=True,
    help="Keep what is typed, for the up arrow, in a file of yours alone.",
)
@click.pass_obj
def chat(
    connection: Connection,
    session_id: str | None,
    user_id: str,
    prompt: str | None,
    variables: Mapping[str, str],
    model: str | None,
    line_history: bool,
) -> None:
    """Talk, and see the replies as they come.

    \b
    enter             send              ctrl-C  end the reply, or empty the line
    alt-enter/ctrl-J  a new line        ctrl-D  leave
    /help             the commands      //text  a text that begins with a slash

    A reply that is ended by ctrl-C is kept as far as it has come.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("chat is for a terminal; in a pipe, use `turnkeep send`")
    # asyncio and the line editor take 100 ms to import.
    from turnkeep.cli.chat_loop import ChatLoop
    from turnkeep.cli.chat_prompt import LinePrompt
    from turnkeep.cli.chat_terminal import run_to_the_end

    chosen = session_id or f"chat-{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(2).hex()}"
    options = options_of(prompt, variables, model, connection.turn_seconds)
    about = (f"turnkeep {__version__}", connection.server, f"session {chosen}")
    output.write_line(" · ".join((*about, f"user {user_id}") if user_id else about))
    output.write_line("/help for the commands, ctrl-D to leave")

    async def talk() -> None:
        line = LinePrompt(line_history)
        connect = connection.asynchronous_client
        await ChatLoop(connect, (chosen, user_id), options, line).run()

    run_to_the_end(talk())
