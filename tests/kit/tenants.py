"""Tenants with a key each, and the file that names their keys to a server."""

import hashlib
import json
from pathlib import Path

from tests.kit.rpcs import bearer


def key_of(tenant: str) -> str:
    """The tenant's key; a test's, and so no secret."""
    return f"tk_of_{tenant}_{'0' * 32}"


def keys_file(folder: Path, *tenants: str) -> Path:
    """A file for TURNKEEP_KEYS_FILE with a key for each tenant, role caller."""
    path = folder / "keys"
    lines = (
        {
            "id": tenant,
            "sha256": hashlib.sha256(key_of(tenant).encode()).hexdigest(),
            "tenant": tenant,
        }
        for tenant in tenants
    )
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def as_tenant(tenant: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call with this tenant's key."""
    return bearer(key_of(tenant))
