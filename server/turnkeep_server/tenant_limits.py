"""What a tenant may use: the server's limits for everybody, and those of single tenants."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from turnkeep_server.setting_types import unset_if_empty

_MAX_INT64 = 2**63 - 1

Rate = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Tokens = Annotated[int, Field(ge=1, le=_MAX_INT64)]


class TenantLimits(BaseModel):
    """The limits of one tenant; None is no limit.

    `requests_per_second`, `request_burst` and `concurrent_turns` are for each process,
    `tokens_per_day` is for all servers on one database together, from midnight to midnight UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_second: Rate | None = None
    request_burst: Count | None = None
    concurrent_turns: Count | None = None
    tokens_per_day: Tokens | None = None

    @property
    def burst(self) -> int:
        """Requests at once: what a second brings, unless the limits say otherwise."""
        return self.request_burst or math.ceil(self.requests_per_second or 1)

    def changed_by(self, own: "TenantLimits") -> "TenantLimits":
        """These limits, but for what `own` says; a null there is no limit."""
        return self.model_copy(update=own.model_dump(exclude_unset=True))


@dataclass(frozen=True, slots=True)
class LimitsOfTenants:
    """Every tenant's limits: `own` of those that have some of their own, `usual` of all others."""

    usual: TenantLimits
    own: Mapping[str, TenantLimits] = field(default_factory=dict)

    def of(self, tenant: str) -> TenantLimits:
        """The limits of a tenant, known or not."""
        return self.own.get(tenant, self.usual)


class TenantLimitSettings(BaseSettings):
    """What of the settings is about limits of tenants and sessions; part of Settings."""

    model_config = SettingsConfigDict(env_prefix="TURNKEEP_", frozen=True)

    tenant_requests_per_second: Rate | None = Field(
        None, description="requests a second that a tenant may make, for each process"
    )
    tenant_request_burst: Count | None = Field(
        None,
        description="requests that a tenant may make at once; without one, what a second brings",
    )
    tenant_concurrent_turns: Count | None = Field(
        None, description="turns that a tenant may run at once, for each process"
    )
    tenant_tokens_per_day: Tokens | None = Field(
        None,
        description="tokens that a tenant may use in a day, UTC, over all servers on one database",
    )
    tenants_file: Path | None = Field(
        None, description="YAML file of tenants whose limits are others than these"
    )
    max_session_messages: PositiveInt | None = Field(
        None, description="messages that a session may have; more are refused with SESSION_FULL"
    )

    @property
    def tenant_limits(self) -> TenantLimits:
        """The limits of tenants that have none of their own."""
        return TenantLimits(
            requests_per_second=self.tenant_requests_per_second,
            request_burst=self.tenant_request_burst,
            concurrent_turns=self.tenant_concurrent_turns,
            tokens_per_day=self.tenant_tokens_per_day,
        )

    _empty_limit_is_unset = field_validator(
        "tenant_requests_per_second",
        "tenant_request_burst",
        "tenant_concurrent_turns",
        "tenant_tokens_per_day",
        "tenants_file",
        "max_session_messages",
        mode="before",
    )(unset_if_empty)
