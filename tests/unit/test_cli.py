"""The pure parts of the terminal client."""

import json

import click
import grpc
import pytest

from turnkeep import PermissionDenied, TurnkeepError, Unauthenticated, Unavailable
from turnkeep.cli import verdicts
from turnkeep.cli.documents import messages_in
from turnkeep.cli.failures import REMEDIES, line_of
from turnkeep.cli.importing import turns_in
from turnkeep.cli.output import printable
from turnkeep_server import errors


def test_messages_without_sequences_are_turns_from_user_to_user() -> None:
    """A question and its reply at a time; the same file has the same request_ids."""
    roles = ["system", "user", "assistant", "tool", "user", "user", "assistant"]
    lines = [json.dumps({"role": each, "text": each, "tool_call_id": "c"}) for each in roles]
    turns, left_out = turns_in(lines, "x")

    assert [[each.role for each in turn.messages] for turn in turns] == [
        ["system"],
        ["user", "assistant", "tool"],
        ["user"],
        ["user", "assistant"],
    ]
    assert [turn.line for turn in turns] == [1, 2, 5, 6]
    assert left_out == 0
    assert turns == turns_in(lines, "y")[0]
    assert len({turn.request_id for turn in turns}) == 4
    assert all(len(turn.request_id) <= 64 for turn in turns)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "is no JSON"),
        ('"Привет"', "a message is a JSON object"),
        ('{"role": "bot", "text": "x"}', "a role is"),
        ('{"txt": "x"}', "no field 'txt'"),
        ('{"text": 7}', "text is a text"),
        ('{"text": "\\ud83d"}', "surrogates not allowed"),
        ('{"parts": [{"image": "x"}]}', "a part is"),
        ('{"parts": [{"file": {"media_type": "a/b", "data": "?"}}]}', "base64"),
        ('{"metadata": []}', "metadata is an object"),
        ('{"tool_calls": {}}', "tool_calls is a list"),
    ],
)
def test_a_line_that_is_no_message_is_named(line: str, told: str) -> None:
    lines = ['{"text": "Привет", "sequence": 7, "status": "completed"}', "", line]
    with pytest.raises(click.UsageError) as raised:
        list(messages_in(lines, "notes.jsonl"))
    assert raised.value.message.startswith("notes.jsonl, line 3: ")
    assert told in raised.value.message


def test_every_reason_of_the_server_has_a_remedy_or_says_all_itself() -> None:
    """A new reason is looked at here once."""
    reasons = {each.reason for each in vars(errors).values() if hasattr(each, "reason")} - {""}
    says_all = {"INVALID_REQUEST", "MALFORMED_MESSAGE", "SEQUENCE_MISMATCH"}
    statuses = {each.name for each in grpc.StatusCode}

    assert reasons - REMEDIES.keys() == says_all
    assert REMEDIES.keys() - reasons - statuses == set()


def _error(kind: type[TurnkeepError], code: grpc.StatusCode, message: str) -> TurnkeepError:
    return kind(message, code=code)


def test_of_a_refused_connection_only_place_and_cause_are_told() -> None:
    message = (
        "connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:1: "
        "Failed to connect to remote host: Connection refused"
    )
    line = line_of(_error(Unavailable, grpc.StatusCode.UNAVAILABLE, message), remedy=False)
    assert line == "UNAVAILABLE: no answer from 127.0.0.1:1 (Connection refused)"
    message = "errors resolving x:1: [field:hostname lookup error:address lookup: Name not found]"
    line = line_of(_error(Unavailable, grpc.StatusCode.UNAVAILABLE, message), remedy=False)
    assert line == "UNAVAILABLE: no answer from the server (Name not found)"


def test_a_text_cannot_command_a_terminal() -> None:
    """Controls become pictures; lines, tabs and every script stay."""
    text = "да\n\tнет 你 مرحبا 👩‍👩‍👧‍👦 e\u0301"
    assert printable(text) == text
    assert printable("\x1b[2J\x07\x00\r\x9b1m\x7f") == "␛[2J␇␀\ufffd1m\ufffd"


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ("0.1.0", "0.1.9", "ok"),
        ("0.1.0", "0.2.0", "failed"),
        ("1.2.0", "1.9.0", "ok"),
        ("1.2.0", "2.0.0", "failed"),
        ("0.1.0", None, "skipped"),
    ],
)
def test_versions_agree_within_a_series(ours: str, theirs: str | None, verdict: str) -> None:
    assert verdicts.version(ours, theirs).verdict == verdict


@pytest.mark.parametrize(
    ("server_seconds", "verdict"),
    # The answer took 2 s: the server may have read its clock at either end.
    [(1_001.0, "ok"), (1_006.9, "ok"), (995.1, "ok"), (1_007.5, "failed"), (994.0, "failed")],
)
def test_clocks_are_judged_with_the_way_there_and_back(server_seconds: float, verdict: str) -> None:
    found = verdicts.clock(str(int(server_seconds * 1000)), 1_000.0, 1_002.0)
    assert found.verdict == verdict
    assert bool(found.remedy) == (verdict == "failed")


def test_a_refused_token_is_told_from_a_history_that_is_away() -> None:
    refused = _error(Unauthenticated, grpc.StatusCode.UNAUTHENTICATED, "no such token")
    forbidden = _error(PermissionDenied, grpc.StatusCode.PERMISSION_DENIED, "not yours")
    away = _error(Unavailable, grpc.StatusCode.UNAVAILABLE, "no primary: within the time")

    assert verdicts.token(refused, given=True).verdict == "failed"
    assert "TURNKEEP_TOKEN" in verdicts.token(refused, given=False).remedy
    assert verdicts.history(forbidden).verdict == "skipped"
    assert verdicts.token(away, given=True).verdict == "ok"
    assert verdicts.history(away).verdict == "failed"
