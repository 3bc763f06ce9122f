"""What a provider's failure means, in the domain's terms: one table, no provider text passed on.

What each fault raises was measured on openai 3.54 and langchain-openai 1.7.3. The library's own
`is_retryable` is not used: it calls an exhausted quota retryable.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import openai
from langchain_core.exceptions import ContextOverflowError

from turnkeep_server.errors import (
    ContentFiltered,
    ContextTooLarge,
    ModelError,
    ModelMisconfigured,
    ModelQuotaExhausted,
    ModelRateLimited,
    ModelRefusedRequest,
    ModelStreamBroken,
    ModelTimeout,
    ModelUnavailable,
)

DEFAULT_RETRY_AFTER_SECONDS = 1.0
_LONGEST_RETRY_AFTER_SECONDS = 3600.0

# What the libraries let through when an answer is no chat completion: an empty list of choices, a
# null one, invalid JSON, HTML. Their texts quote the body and go nowhere.
RUBBISH = (
    *(LookupError, TypeError, ValueError, AttributeError, json.JSONDecodeError),
    RecursionError,  # JSON that is nested without end
)

PROVIDER_FAILURES = (openai.OpenAIError, ContextOverflowError, TimeoutError)
"""What a model call fails with, and nothing else does."""

FAILURES = (*PROVIDER_FAILURES, *RUBBISH)
"""Every exception that the stock chain may fail with. Elsewhere rubbish would be a bug."""


def model_error(error: BaseException, *, begun: bool) -> ModelError:
    """The domain error that a provider's failure is. `begun`: a part of the reply had come.

    Codes come first: a context that is too long arrives as one bad request among others, an error
    event inside a stream as an APIError without a status, and an error that a provider answers with
    status 200 as LangChain's ValueError of what it said.
    """
    if isinstance(error, ContextOverflowError) or _says_context_too_long(error):
        return ContextTooLarge("the prompt is longer than the model can read; send less")
    for code in _codes(error):
        if code in _BY_CODE:
            return _BY_CODE[code](error)
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return ModelTimeout("the model did not answer within the call's deadline")
    if isinstance(error, openai.APIStatusError):
        return _by_status(error)
    if begun or type(error) is openai.APIError:
        return ModelStreamBroken("the model's stream broke off; send the request again")
    if isinstance(error, openai.APIConnectionError):
        return ModelUnavailable("the model's provider cannot be reached; send the request again")
    return ModelUnavailable("the model's provider answered with something that is no reply")


def _codes(error: BaseException) -> Iterator[str]:
    """What kind of failure the provider calls it: the code, or the type where there is none."""
    said = error.args[0] if error.args and isinstance(error.args[0], Mapping) else {}
    for name in ("code", "type"):
        code = getattr(error, name, None) or said.get(name)
        if isinstance(code, str):
            yield code


def _says_context_too_long(error: BaseException) -> bool:
    """By OpenAI's code for it, or by the words of servers that have none (vLLM, llama.cpp)."""
    if "context_length_exceeded" in _codes(error):
        return True
    status = getattr(error, "status_code", None)
    return status == 413 or (
        status == 400 and _CONTEXT_TOO_LONG.search(str(getattr(error, "message", ""))) is not None
    )


_CONTEXT_TOO_LONG = re.compile(
    r"(maximum|exceed\w*)\b.{0,60}\bcontext (length|window|size)", re.IGNORECASE
)


def _by_status(error: openai.APIStatusError) -> ModelError:
    status = error.status_code
    if status == 429:
        return _rate_limited(error)
    if status == 402:
        return _quota(error)
    if status in {401, 403, 404}:
        return ModelMisconfigured("the model's provider refuses this server's key or model")
    if status in {408, 409, 425} or status >= 500:
        return ModelUnavailable("the model's provider failed; send the request again")
    return ModelRefusedRequest(
        "the model's provider refuses the request; check its options and its messages"
    )


def _rate_limited(error: BaseException) -> ModelRateLimited:
    return ModelRateLimited(
        "the model's provider asks to slow down; send the request again later",
        retry_after_seconds=_retry_after(error),
    )


def _retry_after(error: BaseException) -> float:
    """Seconds, an hour at most, from the headers that OpenAI sends (RFC 9110, 10.2.3)."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    for name, seconds_in in (("retry-after-ms", _milliseconds), ("retry-after", _seconds_until)):
        try:
            seconds = seconds_in(headers.get(name, ""))
        except (ValueError, OverflowError):  # a date beyond all dates
            continue
        if seconds >= 0:
            return min(seconds, _LONGEST_RETRY_AFTER_SECONDS)
    return DEFAULT_RETRY_AFTER_SECONDS


def _milliseconds(said: str) -> float:
    return float(said) / 1000


def _seconds_until(said: str) -> float:
    """A number of seconds, or an HTTP date."""
    try:
        return float(said)
    except ValueError:
        until = parsedate_to_datetime(said).astimezone(UTC)
        return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _filtered(error: BaseException) -> ModelError:
    return ContentFiltered("the provider's content filter refuses the request; ask otherwise")


def _quota(error: BaseException) -> ModelError:
    return ModelQuotaExhausted("the account at the model's provider has no budget left")


_BY_CODE: dict[str, Callable[[BaseException], ModelError]] = {
    "insufficient_quota": _quota,
    "billing_hard_limit_reached": _quota,
    "rate_limit_exceeded": _rate_limited,
    "content_filter": _filtered,
    "content_policy_violation": _filtered,
}
