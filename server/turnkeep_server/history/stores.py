"""Which history store a URL means: one visible table."""

import importlib
import re
from contextlib import AbstractAsyncContextManager
from typing import Protocol, cast

from pydantic import SecretStr

from turnkeep_server.errors import SettingsError
from turnkeep_server.history.contract import HistoryStore

STORES = {
    "local": "turnkeep_server.history.embedded:open_store",
    "mongodb": "turnkeep_server.history.mongodb:open_store",
    "mongodb+srv": "turnkeep_server.history.mongodb:open_store",
    "memory": "turnkeep_server.history.memory:open_store",
}
"""URL scheme → what opens it. Imported when used: a backend may need an extra."""

HOW_TO_WRITE_MONGODB = (
    "write mongodb://USER:PASSWORD@HOST/DATABASE, in it percent-encode special characters (%2F for "
    "/, %40 for @, %3A for :, %3F for ?, %25 for %), and give no option unknown to MongoDB; "
    "mongodb+srv:// takes one host without a port"
)

_HOST = r"(?:\[[^\s/?@\[\]]+\]|[^\s/?@,:\[\]]+)(?::\d+)?"
_MONGODB = re.compile(
    rf"mongodb(?:\+srv)?://(?:[^/?@]*@)?(?P<shown>{_HOST}(?:,{_HOST})*(?:/[^/?@]*)?)(?:\?[^@]*)?"
)
"""Of which each part can be told from the others, so that none of a password is taken for a host.
urlsplit cannot: it ends the host at a `/` or `#`, and quotes what it does not like."""


class _Opener(Protocol):
    def __call__(
        self, url: str, *, lease_seconds: float, operation_timeout_seconds: float
    ) -> AbstractAsyncContextManager[HistoryStore]: ...


def opened_store(
    url: SecretStr, *, lease_seconds: float, operation_timeout_seconds: float
) -> AbstractAsyncContextManager[HistoryStore]:
    """The store behind `url`, closed on leaving.

    `lease_seconds`: how long a running turn may go without renewal before others take it over.
    `operation_timeout_seconds`: how long one operation may take, reconnects included.
    Raises SettingsError for a URL that no store takes, StartupError if it cannot be reached.
    """
    return _opener(url)(
        url.get_secret_value(),
        lease_seconds=lease_seconds,
        operation_timeout_seconds=operation_timeout_seconds,
    )


def check_url(url: SecretStr) -> None:
    """Raises SettingsError unless a store takes this URL's scheme, and a MongoDB URL its form."""
    scheme = scheme_of(url)
    if scheme not in STORES:
        known = ", ".join(f"{each}://" for each in STORES)
        raise SettingsError(
            f"the history's URL has no scheme that a store knows; use one of {known}"
        )
    if scheme.startswith("mongodb") and not _MONGODB.fullmatch(url.get_secret_value()):
        raise SettingsError(f"the history's URL is no valid MongoDB URL; {HOW_TO_WRITE_MONGODB}")


def scheme_of(url: SecretStr) -> str:
    """What stands before the first colon: which store it is."""
    return url.get_secret_value().partition(":")[0].lower()


def redacted(url: SecretStr) -> str:
    """The URL as it may be shown: its scheme, hosts and path, never a user, password or option."""
    scheme, text = scheme_of(url), url.get_secret_value()
    if not scheme.startswith("mongodb"):
        return re.split("[?#]", text)[0]  # a folder, or nothing
    matched = _MONGODB.fullmatch(text)
    return f"{scheme}://{matched['shown'] if matched else '(not shown)'}"


def _opener(url: SecretStr) -> _Opener:
    check_url(url)
    module, _, name = STORES[scheme_of(url)].partition(":")
    return cast(_Opener, getattr(importlib.import_module(module), name))
