"""A failure as its user meets it: one line with reason and remedy, or JSON; an exit code."""

import re

import click

from turnkeep import TurnkeepError, Unavailable
from turnkeep.cli import output

FAILED, USAGE, TRY_LATER = 1, 2, 3

# What to do, by reason; where there is no reason, by status. The server's message, which says what
# went wrong and often what to change, comes before it.
REMEDIES = {
    "BAD_CREDENTIALS": "set TURNKEEP_TOKEN to a token that is good here, or give --token-file",
    "NOT_PERMITTED": "whoever runs the server can give the token another role or user",
    "UNKNOWN_PROMPT": "give --prompt one of the server's prompts",
    "MISSING_VARIABLE": "give it with --var NAME=TEXT",
    "MODEL_NOT_ALLOWED": "give --model another one, or leave it out",
    "REQUEST_ID_REUSED": "that id belongs to another turn: leave --request-id out",
    "SESSION_BUSY": "another turn of this session runs: try again when it is done",
    "SESSION_CLEARED": "the session was cleared meanwhile: send it again for a new beginning",
    "TURN_TAKEN_OVER": "the server fell behind: send it again",
    "CONTEXT_TOO_LARGE": "shorten the text",
    "SESSION_FULL": "begin a new session, or clear this one",
    "CONTENT_FILTERED": "the model's provider refused the text: put it otherwise",
    "OVERLOADED": "try again later",
    "MODEL_RATE_LIMITED": "try again later",
    "MODEL_QUOTA_EXHAUSTED": "whoever runs the server has to top up the provider's account",
    "HISTORY_UNAVAILABLE": "try again when the server's database is back",
    "MODEL_UNAVAILABLE": "try again later",
    "MODEL_STREAM_BROKEN": "send it again",
    "SHUTTING_DOWN": "try again in a moment",
    "MODEL_TIMEOUT": "try again, or give it more --timeout",
    "WAIT_TIMEOUT": "another turn of this session still runs: try again when it is done",
    "INTERNAL": "tell whoever runs the server, with the error id",
    "UNAVAILABLE": "is it running, and there? see `turnkeep doctor`",
    "DEADLINE_EXCEEDED": "try again, or give it more --timeout",
    "CANCELLED": "send it again",
    "UNAUTHENTICATED": "set TURNKEEP_TOKEN, or give --token-file",
    "PERMISSION_DENIED": "ask whoever runs the server for the permission",
}


def tell(error: TurnkeepError, *, as_json: bool) -> int:
    """Says on stderr what failed; the exit code."""
    if as_json:
        output.write_json({"error": document_of(error)}, err=True)
    else:
        resend = f"; its --request-id is {error.request_id}" if _may_be_resent(error) else ""
        click.echo(f"turnkeep: {line_of(error)}{resend}", err=True)
    return TRY_LATER if error.retryable else FAILED


def tell_usage(error: click.ClickException, *, as_json: bool) -> int:
    """Says on stderr what was asked for in a wrong way; the exit code."""
    if as_json:
        problem = {"code": "USAGE", "message": error.format_message()}
        output.write_json({"error": problem}, err=True)
    else:
        error.show()
    return error.exit_code


def tell_system(error: OSError, *, as_json: bool) -> int:
    """Says on stderr what this machine refused; the exit code."""
    problem = (error.strerror or str(error)).lower()
    where = f"{error.filename}: " if error.filename else ""
    if as_json:
        output.write_json({"error": {"code": "SYSTEM", "message": where + problem}}, err=True)
    else:
        click.echo(f"turnkeep: {where}{problem}", err=True)
    return FAILED


def line_of(error: TurnkeepError, *, remedy: bool = True) -> str:
    """Reason, what went wrong and what to do, in one line."""
    line = f"{error.reason or error.code.name}: {_message(error)}"
    if remedy and (advice := remedy_of(error)):
        line += f"; {advice}"
    return output.printable(" ".join(line.split()))


def remedy_of(error: TurnkeepError) -> str:
    """What to do about it; "" where the message is all there is to say."""
    advice = REMEDIES.get(error.reason or error.code.name, "")
    if advice and error.retry_after:
        advice += f" (in {error.retry_after:.0f} s)"
    return advice


def document_of(error: TurnkeepError) -> dict[str, object]:
    """The error for programs."""
    return {
        "code": error.code.name,
        "reason": error.reason,
        "message": error.message,
        "remedy": remedy_of(error),
        "retryable": error.retryable,
        "retry_after": error.retry_after,
        "request_id": error.request_id,
        "metadata": dict(error.metadata),
        "bad_fields": dict(error.bad_fields),
        "partial_text": error.partial_text,
    }


def _may_be_resent(error: TurnkeepError) -> bool:
    return error.retryable and bool(error.request_id)


def _message(error: TurnkeepError) -> str:
    """The message; of gRPC's own about a connection only where it led, and the cause."""
    if isinstance(error, Unavailable) and not error.reason:
        led = re.search(r"ipv[46]:(\S+): ", error.message)
        cause = error.message.rpartition(": ")[2].rstrip("]")
        return f"no answer from {led[1] if led else 'the server'} ({cause})"
    return error.message
