"""The conversation: prompt, turn, prompt. What was typed is not lost where a turn fails."""

from asyncio import CancelledError
from collections.abc import Callable
from typing import NamedTuple

from grpc import StatusCode

from turnkeep import (
    ContextReport,
    ConversationClient,
    ReplyStream,
    Session,
    TurnkeepError,
    TurnOptions,
    Unavailable,
    Usage,
)
from turnkeep.cli import failures, output
from turnkeep.cli.chat_commands import COMMANDS
from turnkeep.cli.chat_prompt import LinePrompt
from turnkeep.cli.chat_terminal import Interrupts, quiet_terminal

_COMMAND = "/"


class Unsent(NamedTuple):
    """A text whose turn failed; under the request_id, if any, sending it again is the same turn."""

    text: str
    request_id: str | None


class ChatLoop:
    """One person's conversation, which may move from session to session.

    `connect` makes a client, `session` is the ids of session and user.
    """

    def __init__(
        self,
        connect: Callable[[], ConversationClient],
        session: tuple[str, str],
        options: TurnOptions,
        prompt: LinePrompt,
    ) -> None:
        self._connect = connect
        self._client = connect()
        self._session_id, self._user_id = session
        self.last_usage: Usage | None = None
        """What the last turn cost; None before there was one."""
        self.usage = Usage()
        """What the turns of this conversation cost in all."""
        self.context: ContextReport | None = None
        """What of the history the model was sent last."""
        self._options = options
        self._prompt = prompt
        self._unsent: Unsent | None = None
        self._interrupts = Interrupts()

    @property
    def session(self) -> Session:
        """The session that it is in."""
        return self._client.session(self._session_id, self._user_id)

    def move_to(self, session_id: str) -> None:
        """Goes on in another session of the same user."""
        self._session_id, self._unsent = session_id, None

    async def run(self) -> None:
        """Until ctrl-D."""
        try:
            with quiet_terminal(), self._interrupts:
                await self._talk()
        finally:
            await self._client.close()

    async def _talk(self) -> None:
        while True:
            try:
                text = await self._prompt.ask(self._unsent.text if self._unsent else "")
            except EOFError:
                return
            except KeyboardInterrupt:
                self._unsent = None
                continue
            if text.strip():
                await self._take(text)

    async def _take(self, text: str) -> None:
        """A command, or something to send."""
        if not text.startswith(_COMMAND):
            await self._send(text)
        elif text.startswith(_COMMAND * 2):
            await self._send(text, text.removeprefix(_COMMAND))
        else:
            await self._command(*text.removeprefix(_COMMAND).split())

    async def _command(self, name: str = "", *arguments: str) -> None:
        command = COMMANDS.get(name)
        if command is None:
            output.write_line(
                f"there is no command /{name}: see /help. To send a text that begins with a slash, "
                "begin it with two"
            )
            return
        try:
            if not await self._interrupts.run(command(self, *arguments)):
                output.write_line("[stopped]")
        except TurnkeepError as error:
            await self._failed(error, failures.line_of(error))

    async def _send(self, typed: str, text: str | None = None) -> None:
        unsent, self._unsent = self._unsent, None
        options = self._options.copy()
        if unsent and unsent.text == typed and unsent.request_id:
            options["request_id"] = unsent.request_id
        try:
            if not await self._interrupts.run(self._turn(text or typed, options)):
                output.write_line("[cancelled; /history shows what was kept]")
        except TurnkeepError as error:
            self._unsent = Unsent(typed, error.request_id if error.retryable else None)
            await self._failed(error, _what_to_do(error))

    async def _failed(self, error: TurnkeepError, line: str) -> None:
        output.write_line(f"error: {line}")
        if isinstance(error, Unavailable) and not error.reason:
            # A connection that failed waits up to 5 s before it tries again; a person who presses
            # enter because the server is back should not.
            await self._client.close()
            self._client = self._connect()

    async def _turn(self, text: str, options: TurnOptions) -> None:
        said = ""
        async with self.session.stream(text, **options) as stream:
            try:
                async for said in stream:
                    output.write(said)
            except CancelledError:
                # Only after the last word: the turn was complete before the key was pressed.
                if not _is_complete(stream):
                    raise
            finally:
                if stream.text and not said.endswith("\n"):
                    output.write_line()
                if stream.started:
                    self.context = stream.started.context
        self._count(stream.reply.usage)

    def _count(self, usage: Usage) -> None:
        self.last_usage = usage
        names = Usage.__slots__
        self.usage = Usage(*(getattr(self.usage, each) + getattr(usage, each) for each in names))


def _is_complete(stream: ReplyStream) -> bool:
    try:
        return bool(stream.reply)
    except RuntimeError:
        return False


def _what_to_do(error: TurnkeepError) -> str:
    """The failure in one line, with what the keys do about it."""
    if not error.retryable:
        its_text = error.code in {StatusCode.INVALID_ARGUMENT, StatusCode.FAILED_PRECONDITION}
        enter = "change it and press enter" if its_text else "press enter to try again"
        return f"{failures.line_of(error)}; {enter}, or ctrl-C to drop it"
    wait = f" in {error.retry_after:.0f} s" if error.retry_after else ""
    line = failures.line_of(error, remedy=False)
    return f"{line}; press enter{wait} to send it again, as the same turn, or ctrl-C to drop it"
