"""The settings of the transport: encryption, who may connect, how long a connection lives."""

from pathlib import Path
from typing import Self

from pydantic import Field, PositiveInt, field_validator, model_validator
from pydantic_settings import BaseSettings

from turnkeep_server.addresses import check_address
from turnkeep_server.setting_types import Seconds, SecondsFromZero, unset_if_empty


class TransportSettings(BaseSettings):
    """A part of `Settings`."""

    tls_certificate_file: Path | None = Field(
        None,
        description="PEM file of the server's certificate and the chain above it; with it and its "
        "key, calls are encrypted; read again when it changes",
    )
    tls_key_file: Path | None = Field(
        None, description="PEM file of the certificate's private key, without a passphrase"
    )
    tls_client_ca_file: Path | None = Field(
        None,
        description="PEM file of authorities; with it every caller must have a certificate that "
        "one of them signed (mTLS)",
    )
    insecure: bool = Field(
        False,
        description="serve beyond this machine although calls are not encrypted, or callers not "
        "known: only inside a network that is itself trusted",
    )
    health_listen: str | None = Field(
        None,
        description="second address, which answers health checks alone and in the clear, for "
        "probes that speak no TLS, such as those of Kubernetes",
    )
    max_connection_age_seconds: SecondsFromZero = Field(
        1_800.0,
        description="after about so long a client is asked to connect anew, and its calls go on "
        "meanwhile; 0 never asks",
    )
    keepalive_seconds: Seconds = Field(
        60.0, description="how long a connection with calls may be silent before it is pinged"
    )
    keepalive_timeout_seconds: Seconds = Field(
        20.0, description="how long the answer to a ping may take before the connection is closed"
    )
    max_concurrent_streams: PositiveInt = Field(
        1_000, description="calls at once on one connection; more wait at the client"
    )

    @field_validator("health_listen")
    @classmethod
    def _health_address(cls, value: str | None) -> str | None:
        return value and check_address(value)

    @model_validator(mode="after")
    def _whole_pair(self) -> Self:
        if bool(self.tls_certificate_file) != bool(self.tls_key_file):
            given, missing = ("CERTIFICATE", "KEY")[:: 1 if self.tls_certificate_file else -1]
            raise ValueError(
                f"TURNKEEP_TLS_{given}_FILE is set and TURNKEEP_TLS_{missing}_FILE is not: TLS "
                "needs both; set it, or unset the other"
            )
        if self.tls_client_ca_file and not self.tls_certificate_file:
            raise ValueError(
                "TURNKEEP_TLS_CLIENT_CA_FILE asks for certificates of clients, for which the "
                "server needs its own: set TURNKEEP_TLS_CERTIFICATE_FILE and TURNKEEP_TLS_KEY_FILE"
            )
        return self

    _empty_transport_is_unset = field_validator(
        "tls_certificate_file",
        "tls_key_file",
        "tls_client_ca_file",
        "health_listen",
        mode="before",
    )(unset_if_empty)
