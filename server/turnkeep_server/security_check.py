"""Who could reach a server and who would be let in, looked at without serving: `check`'s part."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from turnkeep_server.certificates import (
    check_files,
    is_readable_by_others,
    names_of,
    read_files,
)
from turnkeep_server.credentials.identity import identity_of
from turnkeep_server.credentials.keys import KeyLine
from turnkeep_server.exposure import check_exposure, described_security, has_open_metrics
from turnkeep_server.settings import Settings

_SOON_DAYS = 30


async def transport(settings: Settings) -> AsyncIterator[str]:
    """TLS, and how long its certificate lasts. Raises SettingsError for files that cannot serve,
    and for an address that would be open to all.
    """
    if files := await asyncio.to_thread(read_files, settings):
        certificate = check_files(files, settings)
        end = certificate.not_valid_after_utc
        days = (end - datetime.now(UTC)).days
        soon = ": renew it soon" if days < _SOON_DAYS else ""
        names = ", ".join(names_of(certificate)) or "no name"
        yield f"a certificate for {names}, until {end:%Y-%m-%d}, {days} days{soon}"
        if is_readable_by_others(settings.tls_key_file):
            yield f"any user of this machine may read {settings.tls_key_file}: chmod o-r"
    check_exposure(settings)
    insecure = "; INSECURE: all who reach it are let in" if settings.insecure else ""
    yield f"{described_security(settings)}{insecure}"
    if settings.health_listen:
        yield f"health checks on {settings.health_listen}, in the clear"
    if settings.metrics_listen:
        reached = ": let the scraper alone reach it" if has_open_metrics(settings) else ""
        yield f"metrics on {settings.metrics_listen}, in the clear, tenants' names in them{reached}"


async def identity(settings: Settings) -> AsyncIterator[str]:
    """Who is let in, by which credentials. Raises SettingsError or StartupError."""
    found = identity_of(settings)
    if found is None:
        yield "none: every caller is let in, and all of them are one tenant"
        return
    async with found.opened():
        if settings.keys_file:
            yield await asyncio.to_thread(_keys, settings.keys_file)
        if settings.jwt_jwks:
            yield f"JWTs of {settings.jwt_issuer} for {settings.jwt_audience}"
        if settings.mtls_tenant != "off":
            yield f"certificates, whose {settings.mtls_tenant} is the tenant"


def _keys(file: Path) -> str:
    """How many keys of how many tenants; which have run out, or soon will, by their ids."""
    lines = [
        KeyLine.model_validate_json(each)
        for each in file.read_bytes().splitlines()
        if each.strip() and not each.lstrip().startswith(b"#")
    ]
    now = datetime.now(UTC)
    ends = {each.id: (each.expires - now).days for each in lines if each.expires}
    told = f"{len(lines)} keys of {len({each.tenant for each in lines})} tenants in {file}"
    for words, among in (
        ("have expired", [name for name, days in ends.items() if days < 0]),
        ("soon will", [name for name, days in ends.items() if 0 <= days < _SOON_DAYS]),
    ):
        if among:
            told += f"; {len(among)} {words}: {', '.join(among)}"
    return told
