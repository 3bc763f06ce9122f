"""What a tenant may use: the server's limits for everybody, and those of single tenants."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

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
