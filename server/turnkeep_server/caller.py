"""Who calls, for the time of one call, and what that caller may do."""

import re
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum

from turnkeep_server.turns import check_tenant

# Of a tenant or a user: what a session_id may be, so that every part of a key is of one kind.
NAME = re.compile(r"[\x21-\x7e]{1,128}")


class CallerRole(Enum):
    """What a caller may do; each may do all that the ones before it may. Not a message's role."""

    READER = "reader"  # lists messages and sessions
    CALLER = "caller"  # runs turns, appends, clears
    ADMIN = "admin"  # appends SYSTEM messages, too

    def includes(self, needed: "CallerRole") -> bool:
        """Whether this role may do what `needed` may."""
        return _RANK[self] >= _RANK[needed]


_RANK = {role: rank for rank, role in enumerate(CallerRole)}


@dataclass(frozen=True, slots=True)
class Caller:
    """What a credential says. The tenant comes from it alone and leads every key in the store.

    `credential`: its name, for logs and metrics, never a secret: of a static key its id, of a JWT
    its key's id, of a certificate its serial number. `user_id`: the one user whose data the caller
    may touch; None: any user of the tenant. `may_add_system`: SYSTEM messages by AddMessages.
    Raises ValueError for an empty tenant.
    """

    tenant: str
    credential: str = "none"
    role: CallerRole = CallerRole.READER
    user_id: str | None = None
    may_add_system: bool = False

    def __post_init__(self) -> None:
        check_tenant(self.tenant)


EVERYBODY = Caller(tenant="default", role=CallerRole.ADMIN, may_add_system=True)
"""Who calls where nobody is asked for a credential; and whose an operator's import is."""

current_caller: ContextVar[Caller] = ContextVar("current_caller")
"""Set by the auth interceptor. Not set means that nobody was let in: reading it then is a bug."""
