"""The line at which a person types: prompt_toolkit, with a history that only they can read."""

import os
from contextlib import suppress
from pathlib import Path

# It asks the terminal where the cursor is only to place menus, of which there are none here; where
# nothing answers, it would warn. Read when a prompt is made.
os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.shortcuts import CompleteStyle

from turnkeep.cli.chat_commands import NAMES

PROMPT, CONTINUATION = "> ", ". "


class LinePrompt:
    """Asks for one text after another. `keeps_history` keeps them for the next time too."""

    def __init__(self, keeps_history: bool) -> None:
        self._session: PromptSession[str] = PromptSession(
            PROMPT,
            multiline=True,
            prompt_continuation=CONTINUATION,
            key_bindings=_keys(),
            history=_history() if keeps_history else InMemoryHistory(),
            completer=WordCompleter(sorted(NAMES), sentence=True),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
        )

    async def ask(self, offered: str = "") -> str:
        """The text, which begins as `offered` for the person to change.

        Raises KeyboardInterrupt at ctrl-C and EOFError at ctrl-D.
        """
        text = await self._session.prompt_async(default=offered)
        return _whole(text)


def history_file() -> Path:
    """Where the lines are kept: https://specifications.freedesktop.org/basedir-spec/latest/."""
    state = os.environ.get("XDG_STATE_HOME", "")
    # "All paths must be absolute"; one that is not is to be ignored.
    folder = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    return folder / "turnkeep" / "chat-history"


class _KeptHistory(FileHistory):
    """Lines in a file; a disk that is full does not end a conversation."""

    def store_string(self, string: str) -> None:
        with suppress(OSError):
            super().store_string(_whole(string))


def _history() -> History:
    path = history_file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.chmod(0o600)  # one that was there may have been readable
    except OSError:  # a home that cannot be written, as in a container: as if switched off
        return InMemoryHistory()
    return _KeptHistory(str(path))


def _keys() -> KeyBindings:
    """Enter sends; alt-enter, and ctrl-J for terminals that keep that key, make a new line."""
    keys = KeyBindings()

    @keys.add("enter")
    def _send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    @keys.add("c-j")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline()

    return keys


def _whole(text: str) -> str:
    """The text with a replacement character for each byte that was no UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
