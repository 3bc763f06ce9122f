"""The ways in which a model provider fails, and the error bodies that OpenAI's API sends.

Texts and codes follow https://platform.openai.com/docs/guides/error-codes/api-errors and observed
replies; CONTENT_FILTER is Azure OpenAI's form, the one that carries the code `content_filter`. Each
has a secret at its end: providers quote keys and prompts.
"""

from enum import StrEnum, auto
from typing import Any, NamedTuple

from tests.kit.canary import KEY, secret


class Fault(StrEnum):
    """What goes wrong with one call. `unary / streaming` where the two differ."""

    # An HTTP error instead of an answer, the same for both ways.
    RATE_LIMITED = auto()  # 429, rate_limit_exceeded, with Retry-After when the stub has one
    QUOTA = auto()  # 429, insufficient_quota
    SERVER_ERROR = auto()  # 500
    BAD_GATEWAY_HTML = auto()  # 502 from a proxy, a page of HTML
    UNAUTHORIZED = auto()  # 401, invalid_api_key
    UNKNOWN_MODEL = auto()  # 404, model_not_found
    BAD_REQUEST = auto()  # 400, a parameter out of range
    CONTEXT_TOO_LONG = auto()  # 400, context_length_exceeded
    CONTENT_FILTER = auto()  # 400, content_filter

    # 200, whole, but not the answer one hoped for.
    CONTENT_FILTER_FINISH = auto()  # finish_reason content_filter, no text
    CONTENT_FILTER_PARTIAL = auto()  # some text, then finish_reason content_filter
    LENGTH = auto()  # finish_reason length
    TOOL_CALLS = auto()  # a tool call; streaming: its arguments in several pieces
    SURROGATE = auto()  # the reply ends in an escaped lone surrogate
    EMPTY_CHOICES = auto()  # choices is []
    NULL_CHOICES = auto()  # choices is null
    RUBBISH = auto()  # invalid JSON; streaming: as a data line
    RUBBISH_HTML = auto()  # 200 with a page of HTML

    # 200, broken on the way.
    # body shorter than Content-Length / clean end without finish_reason or [DONE]
    EARLY_END = auto()
    CUT = auto()  # connection reset in mid-body
    ERROR_EVENT = auto()  # 500 / some deltas, then an error event
    ERROR_EVENT_FIRST = auto()  # 500 / an error event before any delta
    HANG = auto()  # accepted, never answered
    HANG_MID_STREAM = auto()  # half the body, then silence / some deltas, then silence


class ErrorReply(NamedTuple):
    """An HTTP error: its status and its body, text/html when it is a str."""

    status: int
    body: dict[str, Any] | str


def _error(message: str, kind: str | None, param: str | None, code: str | None) -> dict[str, Any]:
    message = f"{message} {secret('model-error')}"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


SERVER_ERROR_BODY = _error(
    "The server had an error while processing your request. Sorry about that!",
    "server_error",
    None,
    None,
)

HTML_PAGE = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>cloudflare "
    f"{secret('model-html')}</body>\r\n</html>"
)

ERROR_REPLIES: dict[Fault, ErrorReply] = {
    Fault.RATE_LIMITED: ErrorReply(
        429,
        _error(
            "Rate limit reached for gpt-4o-mini in organization org-0 on tokens per min (TPM): "
            "Limit 200000, Used 199500, Requested 1200. Please try again in 210ms. Visit "
            "https://platform.openai.com/account/rate-limits to learn more.",
            "tokens",
            None,
            "rate_limit_exceeded",
        ),
    ),
    Fault.QUOTA: ErrorReply(
        429,
        _error(
            "You exceeded your current quota, please check your plan and billing details. For more "
            "information on this error, read the docs: "
            "https://platform.openai.com/docs/guides/error-codes/api-errors.",
            "insufficient_quota",
            None,
            "insufficient_quota",
        ),
    ),
    Fault.SERVER_ERROR: ErrorReply(500, SERVER_ERROR_BODY),
    Fault.BAD_GATEWAY_HTML: ErrorReply(502, HTML_PAGE),
    Fault.UNAUTHORIZED: ErrorReply(
        401,
        _error(
            f"Incorrect API key provided: {KEY}. You can find your API key at "
            "https://platform.openai.com/account/api-keys.",
            "invalid_request_error",
            None,
            "invalid_api_key",
        ),
    ),
    Fault.UNKNOWN_MODEL: ErrorReply(
        404,
        _error(
            "The model `gpt-4o-mini` does not exist or you do not have access to it.",
            "invalid_request_error",
            None,
            "model_not_found",
        ),
    ),
    Fault.BAD_REQUEST: ErrorReply(
        400,
        _error(
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 "
            "instead.",
            "invalid_request_error",
            "temperature",
            "decimal_above_max_value",
        ),
    ),
    Fault.CONTEXT_TOO_LONG: ErrorReply(
        400,
        _error(
            "This model's maximum context length is 128000 tokens. However, your messages resulted "
            "in 150000 tokens. Please reduce the length of the messages.",
            "invalid_request_error",
            "messages",
            "context_length_exceeded",
        ),
    ),
    Fault.CONTENT_FILTER: ErrorReply(
        400,
        _error(
            "The response was filtered due to the prompt triggering Azure OpenAI's content "
            "management policy. Please modify your prompt and retry. To learn more about our "
            "content filtering policies please read our documentation: "
            "https://go.microsoft.com/fwlink/?linkid=2198766",
            None,
            "prompt",
            "content_filter",
        ),
    ),
}
