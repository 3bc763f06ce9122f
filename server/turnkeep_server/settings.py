"""The settings: from the environment alone, validated once, frozen."""

import sys
from itertools import combinations
from typing import Literal, Self

from pydantic import (
    Field,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from turnkeep_server.addresses import check_address, would_collide
from turnkeep_server.errors import SettingsError
from turnkeep_server.history.stores import check_url, scheme_of
from turnkeep_server.identity_settings import IdentitySettings
from turnkeep_server.model_catalog import ModelFigures
from turnkeep_server.model_settings import ModelSettings
from turnkeep_server.request_limits import Limits
from turnkeep_server.setting_types import Seconds, SecondsFromZero, unset_if_empty, variable
from turnkeep_server.tenant_limits import TenantLimitSettings
from turnkeep_server.transport_settings import TransportSettings


class Settings(ModelSettings, IdentitySettings, TransportSettings, TenantLimitSettings, Limits):
    """All that configures a server; `turnkeep-server --help` lists it."""

    listen: str = Field(
        "127.0.0.1:50051", description="address to serve on; port 0 takes a free one"
    )
    workers: int = Field(
        1, ge=1, le=64, description="processes that serve on it, one a core or so; Linux only"
    )
    history_url: SecretStr = Field(
        SecretStr("local://./data/mongodb"),
        description="where histories live: mongodb://…, mongodb+srv://…, local://PATH, memory://",
    )
    lease_seconds: Seconds = Field(
        15.0, description="how long a running turn may go without renewal before it counts as dead"
    )
    history_timeout_seconds: Seconds = Field(
        20.0, description="longest wait for the history's store, reconnects and failover included"
    )
    default_timeout_seconds: Seconds = Field(
        60.0, description="time for a call whose caller sets no deadline"
    )
    max_timeout_seconds: Seconds = Field(300.0, description="longest time for any call")
    event_loop: Literal["uvloop", "asyncio"] = Field(
        "uvloop", description="the loop that a server runs on; asyncio is Python's own"
    )
    max_concurrent_calls: PositiveInt = Field(
        1_000, description="calls served at once; more are refused with OVERLOADED"
    )
    reflection: bool = Field(False, description="serve gRPC reflection, for grpcurl and buf curl")
    lame_duck_seconds: SecondsFromZero = Field(
        1.0, description="on SIGTERM: time to tell health checks before calls are refused"
    )
    drain_seconds: SecondsFromZero = Field(
        30.0, description="on SIGTERM: time for running calls to finish"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="log level")
    log_format: Literal["json", "console", "auto"] = Field(
        "auto", description="log lines as JSON or for people; auto is console on a terminal"
    )
    log_text: bool = Field(
        False,
        description="write what is said into the log line of a completed turn and onto the model's "
        "span; for debugging, never where people speak in confidence",
    )
    metrics_listen: str | None = Field(
        None,
        description="HOST:PORT for Prometheus, plain HTTP; without one, there are no metrics; port "
        "0 takes a free one",
    )

    @field_validator("listen")
    @classmethod
    def _address(cls, value: str) -> str:
        return check_address(value)

    @field_validator("metrics_listen")
    @classmethod
    def _tcp_address(cls, value: str | None) -> str | None:
        if value is not None and value.startswith("unix:"):
            raise ValueError("write HOST:PORT, such as 127.0.0.1:9464 or [::]:9464")
        return value and check_address(value)

    @model_validator(mode="after")
    def _addresses_differ(self) -> Self:
        addresses = {
            "TURNKEEP_LISTEN": self.listen,
            "TURNKEEP_HEALTH_LISTEN": self.health_listen,
            "TURNKEEP_METRICS_LISTEN": self.metrics_listen,
        }
        given = [(variable, address) for variable, address in addresses.items() if address]
        for (one, address), (other, taken) in combinations(given, 2):
            if would_collide(address, taken):
                raise ValueError(
                    f"{one} and {other} are one address, {taken}: give each a port of its own"
                )
        return self

    @model_validator(mode="after")
    def _workers_can_share(self) -> Self:
        if self.workers > 1:
            if sys.platform != "linux":
                raise ValueError(
                    "TURNKEEP_WORKERS: several processes share an address on Linux only; elsewhere "
                    "run several servers, each on an address of its own"
                )
            for asked, address in (
                ("TURNKEEP_LISTEN", self.listen),
                ("TURNKEEP_HEALTH_LISTEN", self.health_listen or ""),
            ):
                if address.startswith("unix:"):
                    raise ValueError(
                        f"TURNKEEP_WORKERS: a unix socket belongs to one process; set {asked} "
                        "to HOST:PORT, or TURNKEEP_WORKERS=1"
                    )
            if scheme_of(self.history_url) == "memory":
                raise ValueError(
                    "TURNKEEP_WORKERS: with memory:// each worker would have a history of its own; "
                    "set TURNKEEP_HISTORY_URL to local://PATH or a MongoDB, or TURNKEEP_WORKERS=1"
                )
        return self

    @field_validator("history_url")
    @classmethod
    def _known_store(cls, value: SecretStr) -> SecretStr:
        check_url(value)
        return value

    @model_validator(mode="after")
    def _certificates_are_asked_for(self) -> Self:
        if self.mtls_tenant != "off" and not self.tls_client_ca_file:
            raise ValueError(
                "TURNKEEP_MTLS_TENANT reads client certificates, which nobody is asked for: set "
                "TURNKEEP_TLS_CLIENT_CA_FILE"
            )
        return self

    _empty_is_unset = field_validator("metrics_listen", mode="before")(unset_if_empty)

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value


def load_settings() -> Settings:
    """The settings from the environment. Raises SettingsError that names every bad variable."""
    try:
        settings = Settings()
    except ValidationError as error:
        # Their texts never quote the value: it may be a key or a URL with a password.
        problems = [f"  {_place(each['loc'])}{_in_words(each)}" for each in error.errors()]
        raise SettingsError("bad settings:\n" + "\n".join(problems)) from None
    return settings


def _in_words(problem: ErrorDetails) -> str:
    if problem["type"] == "extra_forbidden":
        return f"is no figure of a model; they are {', '.join(ModelFigures.model_fields)}"
    return problem["msg"].removeprefix("Value error, ")


def _place(path: tuple[int | str, ...]) -> str:
    """Where a problem is: the variable, and what of it. Nowhere, if it is in several variables."""
    return f"{': '.join((variable(str(path[0])), *map(str, path[1:])))}: " if path else ""


def check_model_key(settings: Settings) -> None:
    """Raises SettingsError if the model needs a key and there is none: none is chosen silently."""
    if settings.chain or settings.model == "parrot":
        return
    if settings.openai_api_key is None:
        raise SettingsError(
            f"no key for the model {settings.model!r}: set OPENAI_API_KEY (any text for a server "
            "that checks none), or TURNKEEP_MODEL=parrot for a model that repeats the question"
        )
