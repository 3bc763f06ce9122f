"""What providers' failures mean, those of servers that only resemble OpenAI among them."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import openai
import pytest

from turnkeep_server.errors import (
    ContextTooLarge,
    ModelError,
    ModelQuotaExhausted,
    ModelRateLimited,
    ModelRefusedRequest,
    ModelStreamBroken,
    ModelUnavailable,
)
from turnkeep_server.model_failures import FAILURES, model_error


def answered(status: int, error: dict[str, Any], **headers: str) -> openai.APIStatusError:
    """The SDK's error for an HTTP answer."""
    request = httpx.Request("POST", "http://127.0.0.1/v1/chat/completions")
    response = httpx.Response(status, request=request, headers=headers, json={"error": error})
    made = openai.AsyncOpenAI(api_key="k")._make_status_error_from_response(response)
    assert isinstance(made, openai.APIStatusError)
    return made


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answered(402, {"message": "Insufficient balance"}), ModelQuotaExhausted),
        (answered(429, {"message": "x", "type": "insufficient_quota"}), ModelQuotaExhausted),
        (answered(429, {"message": "x", "type": "requests", "code": None}), ModelRateLimited),
        (answered(413, {"message": "Request Entity Too Large"}), ContextTooLarge),
        (
            answered(400, {"message": "This model's maximum context length is 2048", "code": 400}),
            ContextTooLarge,
        ),
        (
            answered(400, {"message": "the request exceeds the available context size"}),
            ContextTooLarge,
        ),
        (answered(400, {"message": "the context must be a string"}), ModelRefusedRequest),
        (answered(418, {"message": "?"}), ModelRefusedRequest),
        (answered(529, {"message": "overloaded"}), ModelUnavailable),
        (ValueError({"code": "context_length_exceeded", "message": "x"}), ContextTooLarge),
        (ValueError({"code": "insufficient_quota"}), ModelQuotaExhausted),
        (ValueError("html"), ModelUnavailable),
        (RecursionError("maximum recursion depth exceeded"), ModelUnavailable),
    ],
)
def test_a_failure_is_what_the_provider_means(error: Exception, kind: type[ModelError]) -> None:
    assert isinstance(error, FAILURES)
    assert type(model_error(error, begun=False)) is kind


def test_rubbish_in_a_stream_breaks_it() -> None:
    assert type(model_error(RecursionError(), begun=True)) is ModelStreamBroken


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 1.0),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "9999"}, 3600.0),
        ({"retry-after": "inf"}, 3600.0),
        ({"retry-after": "-1"}, 1.0),
        ({"retry-after": "soon"}, 1.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2359"}, 1.0),
        ({"retry-after": "nan"}, 1.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_a_pause_that_is_asked_for_is_passed_on_an_hour_at_most(
    headers: dict[str, str], seconds: float
) -> None:
    error = model_error(answered(429, {"message": "x"}, **headers), begun=False)
    assert error.retry_after_seconds == seconds


def test_a_pause_may_be_told_as_a_date() -> None:
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    asked = answered(429, {"message": "x"}, **{"retry-after": in_a_minute})
    seconds = model_error(asked, begun=False).retry_after_seconds
    assert seconds is not None
    assert 55 < seconds <= 60
