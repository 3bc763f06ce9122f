"""Static API keys: random texts, of which a file keeps the SHA-256.

A password is hashed slowly because it can be guessed. A key here has 256 random bits: there is
nothing to guess, and a fast hash of it tells no more than a slow one. Nor does looking a hash up in
a dictionary: how long that takes says nothing of a key, whose hash nobody can aim.
"""

import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from turnkeep_server.caller import NAME, Caller, CallerRole
from turnkeep_server.credentials.contract import Presented, TokenVerifier, expired
from turnkeep_server.errors import SettingsError
from turnkeep_server.watched_file import SaysNothing, WatchedFile

_PREFIX = "tk_"  # so that scanners for leaked secrets know one when they see it
_RANDOM_BYTES = 32
_MAX_PROBLEMS_TOLD = 50
_NO_KEYS = (
    "the file of TURNKEEP_KEYS_FILE holds no keys: like this it lets nobody in, and no server "
    "starts; make one with turnkeep-server key new, or take the setting away"
)

Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]


class KeyLine(BaseModel):
    """A line of the file: whose key it is, and what its holder may do."""

    model_config = ConfigDict(extra="forbid")

    id: Name
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    tenant: Name
    role: CallerRole = CallerRole.CALLER
    user_id: Name | None = None
    add_system: bool = False
    expires: AwareDatetime | None = None


@dataclass(frozen=True, slots=True)
class _Key:
    caller: Caller
    expires_at: float  # seconds since 1970


class StaticKeys(TokenVerifier):
    """The keys of a file, as it is now."""

    def __init__(self, path: Path) -> None:
        self._file = WatchedFile(path, _keys, variable="TURNKEEP_KEYS_FILE")

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        await self._file.first()
        yield

    def reload(self) -> None:
        self._file.reload()

    async def caller(self, presented: Presented) -> Caller | None:
        key = (await self._file.current()).get(presented.digest)
        if key is None:
            return None
        if key.expires_at <= time.time():
            raise expired("key expired")
        return key.caller


def new_key(
    *,
    tenant: str,
    role: str,
    user_id: str | None = None,
    add_system: bool = False,
    days: int | None = None,
    key_id: str | None = None,
) -> tuple[str, str]:
    """A key that nobody has seen, and its line for the file. Raises SettingsError."""
    key = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        line = KeyLine(
            # Two of one day are told apart by the second part.
            id=key_id or f"{tenant}-{now:%Y-%m-%d}-{secrets.token_hex(2)}",
            sha256=Presented.of(key).digest.hex(),
            tenant=tenant,
            role=CallerRole(role),
            user_id=user_id,
            add_system=add_system,
            expires=now + timedelta(days=days) if days else None,
        )
    except ValidationError as error:
        raise SettingsError("; ".join(_problems(error))) from None
    return key, line.model_dump_json(exclude_defaults=True, exclude_none=True)


def _keys(content: bytes) -> Mapping[bytes, _Key]:
    """The keys by their hashes. Raises SettingsError, which names each bad line; SaysNothing
    where there is none.
    """
    found: dict[bytes, _Key] = {}
    ids: set[str] = set()
    problems: list[str] = []
    for number, raw in enumerate(content.splitlines(), 1):
        if not raw.strip() or raw.lstrip().startswith(b"#"):
            continue
        try:
            line = KeyLine.model_validate_json(raw)
        except ValidationError as error:
            problems += [f"line {number}: {each}" for each in _problems(error)]
            continue
        digest = bytes.fromhex(line.sha256)
        if digest in found or line.id in ids:
            problems.append(f"line {number}: its sha256 or id is that of a line above; delete one")
        ids.add(line.id)
        found[digest] = _key(line)
    if not found and not problems:
        raise SaysNothing(_NO_KEYS, found)
    if problems:
        raise SettingsError(
            "bad keys, in the file of TURNKEEP_KEYS_FILE:\n"
            + "\n".join(f"  {each}" for each in problems[:_MAX_PROBLEMS_TOLD])
        )
    return found


def _key(line: KeyLine) -> _Key:
    return _Key(
        Caller(
            tenant=line.tenant,
            credential=line.id,
            role=line.role,
            user_id=line.user_id,
            may_add_system=line.add_system or line.role is CallerRole.ADMIN,
        ),
        line.expires.timestamp() if line.expires else float("inf"),
    )


def _problems(error: ValidationError) -> Iterator[str]:
    """What is wrong, without the values: a key itself may stand where its hash should."""
    for each in error.errors(include_input=False, include_url=False):
        field = ".".join(map(str, each["loc"]))
        if each["type"] == "extra_forbidden":
            yield f"has a field that there is not; there are {', '.join(KeyLine.model_fields)}"
        elif each["type"] == "json_invalid":
            yield "is no JSON object"
        elif field == "sha256":
            yield "sha256 is not 64 hexadecimal digits in lower case"
        elif each["type"] == "string_pattern_mismatch":
            yield f"{field} must be 1 to 128 printable ASCII characters without a space"
        elif each["type"] == "missing":
            yield f"{field} is missing"
        else:
            yield f"{field} {each['msg']}"
