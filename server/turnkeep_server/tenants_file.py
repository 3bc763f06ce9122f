"""The file of tenants' own limits: YAML in, limits out, or all that is wrong with it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from turnkeep_server.admission import Admission
from turnkeep_server.background import running
from turnkeep_server.errors import SettingsError
from turnkeep_server.tenant_limits import LimitsOfTenants, TenantLimits
from turnkeep_server.watched_file import WatchedFile
from turnkeep_server.yaml_document import BadFile, Document, Place, Problem, read_yaml, shown

_VARIABLE = "TURNKEEP_TENANTS_FILE"
_MAX_PROBLEMS_TOLD = 50
_LOOKED_AT_EVERY_SECONDS = 1.0


@asynccontextmanager
async def following_tenants_file(path: Path | None, admission: Admission) -> AsyncIterator[None]:
    """Has calls admitted by the limits in the file, as it is now, until left.

        acme:
          requests_per_second: 50
          tokens_per_day: 2000000

    What a tenant's lines leave out is as for all tenants, and null is no limit. Raises
    SettingsError for a file that is bad at the start; later a bad one changes nothing.
    """
    if path is None:
        yield
        return
    usual = admission.limits.usual
    file = WatchedFile(path, lambda content: read_limits(content, usual), variable=_VARIABLE)
    admission.limits = await file.first()

    async def follow() -> None:
        while True:
            await asyncio.sleep(_LOOKED_AT_EVERY_SECONDS)
            admission.limits = await file.current()

    async with running(follow, "tenants-file"):
        yield


def read_limits(content: bytes, usual: TenantLimits) -> LimitsOfTenants:
    """What a file says; `usual` are the limits of all other tenants. Raises SettingsError."""
    try:
        return LimitsOfTenants(usual, _own(read_yaml(content), usual))
    except BadFile as bad:
        told = [f"  line {each.line}: {each.what}" for each in sorted(bad.problems)]
    raise SettingsError(
        f"bad limits, in the file of {_VARIABLE}:\n" + "\n".join(told[:_MAX_PROBLEMS_TOLD])
    )


def _own(document: Document, usual: TenantLimits) -> dict[str, TenantLimits]:
    """Raises BadFile with all problems at once."""
    raw = document.value
    problems = document.problems + [
        Problem(document.line(place), what) for place, what in _problems(raw)
    ]
    if problems:
        raise BadFile(problems)
    return {name: usual.changed_by(TenantLimits.model_validate(each)) for name, each in raw.items()}


def _problems(raw: object) -> Iterator[tuple[Place, str]]:
    if not isinstance(raw, dict) or not raw:
        # A file that is just being written looks like this, too.
        yield (), "holds no tenants; write a tenant's name, and below it its limits"
        return
    for name, each in raw.items():
        try:
            TenantLimits.model_validate(each)
        except ValidationError as error:
            for found in error.errors(include_input=False, include_url=False):
                yield (name, *found["loc"]), f"tenant {shown(name)}: {_in_words(found)}"


def _in_words(problem: ErrorDetails) -> str:
    limit = f"{problem['loc'][0]} " if problem["loc"] else ""
    if problem["type"] == "extra_forbidden":
        return f"{limit}is no limit; there are {', '.join(TenantLimits.model_fields)}"
    if problem["type"] == "model_type":
        return "needs its limits below its name, such as tokens_per_day: 2000000"
    return limit + problem["msg"].replace("Input should be", "must be")
