"""When traces are wanted: by OpenTelemetry's variables, and only if somebody says so."""

import pytest

from turnkeep_server.errors import SettingsError
from turnkeep_server.telemetry.environment import (
    otlp_protocol,
    traces_are_wanted,
    traces_exporter,
)

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environment", "exporter", "wanted"),
    [
        ({}, "none", False),
        ({"OTEL_SERVICE_NAME": "чат"}, "none", False),
        (ENDPOINT, "otlp", True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318"}, "otlp", True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, "none", False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp", True),
        ({"OTEL_TRACES_EXPORTER": "Console"}, "console", True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, "none", False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, "otlp", False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, "otlp", True),
    ],
)
def test_who_is_told(environment: dict[str, str], exporter: str, wanted: bool) -> None:
    """An endpoint or an exporter has to be named; OTEL_SDK_DISABLED goes before both."""
    assert traces_exporter(environment) == exporter
    assert traces_are_wanted(environment) is wanted


def test_the_protocol_of_traces_goes_before_that_of_all() -> None:
    """As the specification has it."""
    both = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
    }
    assert otlp_protocol(both) == "grpc"
    assert otlp_protocol({}) == "http/protobuf"


@pytest.mark.parametrize(
    ("variable", "ask"),
    [
        ("OTEL_TRACES_EXPORTER", traces_exporter),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", otlp_protocol),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", otlp_protocol),
    ],
)
def test_what_there_is_none_of_is_refused(variable: str, ask) -> None:
    """By the variable's name, with the choices."""
    with pytest.raises(SettingsError, match=f"{variable}: write one of"):
        ask({variable: "jaeger"})
