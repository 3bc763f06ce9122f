"""What OpenTelemetry's standard variables ask for, before any of it is imported.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import os
from collections.abc import Mapping

from turnkeep_server.errors import SettingsError

_EXPORTERS = ("otlp", "console", "none")
_PROTOCOLS = ("http/protobuf", "grpc")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def traces_exporter(environment: Mapping[str, str] = os.environ) -> str:
    """`otlp`, `console` or `none`.

    Without OTEL_TRACES_EXPORTER it is `otlp` if an endpoint is named, else `none`: a collector on
    this machine, which the specification would have asked, is not there unless somebody says so.
    Raises SettingsError for an exporter that there is none of.
    """
    named = any(environment.get(each, "").strip() for each in _ENDPOINTS)
    asked = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    exporter = asked or ("otlp" if named else "none")
    if exporter not in _EXPORTERS:
        raise SettingsError(f"OTEL_TRACES_EXPORTER: write one of {', '.join(_EXPORTERS)}")
    return exporter


def traces_are_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether spans are to be made at all."""
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not disabled and traces_exporter(environment) != "none"


def otlp_protocol(environment: Mapping[str, str] = os.environ) -> str:
    """`http/protobuf`, the specification's default, or `grpc`. Raises SettingsError for others."""
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if asked := environment.get(name, "").strip().lower():
            if asked not in _PROTOCOLS:
                raise SettingsError(f"{name}: write one of {', '.join(_PROTOCOLS)}")
            return asked
    return _PROTOCOLS[0]
