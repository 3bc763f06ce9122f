"""Which history store a URL means: one visible table."""

import importlib
from contextlib import AbstractAsyncContextManager
from typing import Protocol, cast
from urllib.parse import urlsplit

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
    """Raises SettingsError unless a store takes this URL's scheme."""
    if urlsplit(url.get_secret_value()).scheme not in STORES:
        known = ", ".join(f"{each}://" for each in STORES)
        raise SettingsError(
            f"the history's URL has no scheme that a store knows; use one of {known}"
        )


def redacted(url: SecretStr) -> str:
    """The URL as it may be shown: its scheme, hosts and path, never a user, password or option."""
    parts = urlsplit(url.get_secret_value())
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _opener(url: SecretStr) -> _Opener:
    check_url(url)
    module, _, name = STORES[urlsplit(url.get_secret_value()).scheme].partition(":")
    return cast(_Opener, getattr(importlib.import_module(module), name))
