"""What a line that begins with a slash does in `turnkeep chat`."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from turnkeep import Usage
from turnkeep.cli import output
from turnkeep.cli.history import shown
from turnkeep.cli.preview import context_line
from turnkeep.cli.sessions import forgotten

if TYPE_CHECKING:
    from turnkeep.cli.chat_loop import ChatLoop

_MESSAGES_SHOWN = 20

Command = Callable[..., Coroutine[Any, Any, None]]


async def _clear(chat: "ChatLoop", *_: str) -> None:
    """/clear: forget this session, at once: nobody types the word by accident."""
    cleared = await chat.session.clear()
    output.write_line(forgotten(cleared))


async def _history(chat: "ChatLoop", count: str = "", *_: str) -> None:
    """/history [COUNT]: the last 20 messages, or so many, of unfinished turns too."""
    limit = int(count) if count.isdecimal() and int(count) else _MESSAGES_SHOWN
    newest = []
    async for each in chat.session.messages(newest_first=True, include_unfinished=True):
        newest.append(each)
        if len(newest) == limit:
            break
    for each in reversed(newest):
        output.write(shown(each))
    if not newest:
        output.write_line("nothing was said in this session")


async def _usage(chat: "ChatLoop", *_: str) -> None:
    """/usage: the tokens of the last turn, and of this chat."""
    if chat.last_usage is None:
        output.write_line("no turn was completed yet")
        return
    output.write_line(f"last turn: {_tokens(chat.last_usage)}")
    output.write_line(f"this chat: {_tokens(chat.usage)}")


async def _context(chat: "ChatLoop", *_: str) -> None:
    """/context: what of the history the model was sent for the last turn."""
    output.write_line(context_line(chat.context) if chat.context else "no turn was sent yet")


async def _session(chat: "ChatLoop", session_id: str = "", *_: str) -> None:
    """/session [ID]: which session this is, or go on in another."""
    if session_id:
        chat.move_to(session_id)
    output.write_line(f"session {chat.session.session_id}")


async def _help(chat: "ChatLoop", *_: str) -> None:
    """/help: this."""
    for command in COMMANDS.values():
        name, _colon, text = (command.__doc__ or "").partition(": ")
        output.write_line(f"{name:<18} {text}")
    output.write_line(_KEYS)


COMMANDS: dict[str, Command] = {
    "clear": _clear,
    "history": _history,
    "usage": _usage,
    "context": _context,
    "session": _session,
    "help": _help,
}
NAMES = [f"/{name}" for name in COMMANDS]
_KEYS = """//text             send a text that begins with a slash
enter              send; alt-enter or ctrl-J makes a new line
ctrl-C             end the reply, or empty the line
ctrl-D             leave"""


def _tokens(usage: Usage) -> str:
    if not usage.total_tokens:
        return "the model did not report any tokens"
    cached = f" ({usage.cached_input_tokens} cached)" if usage.cached_input_tokens else ""
    reasoning = f" ({usage.reasoning_tokens} reasoning)" if usage.reasoning_tokens else ""
    return (
        f"{usage.input_tokens}{cached} in, {usage.output_tokens}{reasoning} out, "
        f"{usage.total_tokens} tokens in all"
    )
