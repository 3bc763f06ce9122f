"""Who calls, for the time of one call."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """The tenant comes from the caller's credential alone and leads every key in the store."""

    tenant: str


EVERYBODY = Caller(tenant="default")
"""Who calls where nobody is asked for a credential; and whose an operator's import is."""

current_caller: ContextVar[Caller] = ContextVar("current_caller")
"""Set by the auth interceptor. Not set means that nobody was let in: reading it then is a bug."""
