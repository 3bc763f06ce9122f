"""Whether the addresses of the settings can be had, looked at without serving: `check`'s part.

One that a running server of these settings has is no fault: `check` may run beside it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp

from turnkeep_server.addresses import cannot_listen, check_free
from turnkeep_server.errors import StartupError
from turnkeep_server.health_probe import probed, reachable
from turnkeep_server.settings import Settings

_ANSWER = aiohttp.ClientTimeout(total=3.0)


async def address(settings: Settings) -> AsyncIterator[str]:
    """Where calls come to. Raises StartupError."""
    if await _is_ours("TURNKEEP_LISTEN", settings.listen, lambda: _serves(settings)):
        yield f"a server serves on {settings.listen} already"
        return
    workers = f", {settings.workers} workers" if settings.workers > 1 else ""
    reflection = ", with reflection" if settings.reflection else ""
    yield f"serve on {settings.listen}{workers}{reflection}"


async def health_address(settings: Settings) -> AsyncIterator[str]:
    """Where probes come to, if anywhere. Raises StartupError."""
    if listen := settings.health_listen:
        ours = await _is_ours("TURNKEEP_HEALTH_LISTEN", listen, lambda: _runs(settings))
        yield f"a server answers probes on {listen} already" if ours else f"for probes, {listen}"


async def metrics_address(settings: Settings) -> AsyncIterator[str]:
    """Where Prometheus comes to, if anywhere. Raises StartupError."""

    async def runs_and_tells() -> bool:
        return await _runs(settings) and await _tells_metrics(listen)

    if listen := settings.metrics_listen or "":
        ours = await _is_ours("TURNKEEP_METRICS_LISTEN", listen, runs_and_tells)
        yield f"a server has its metrics on {listen} already" if ours else f"for metrics, {listen}"


async def _is_ours(variable: str, listen: str, asked: Callable[[], Awaitable[bool]]) -> bool:
    """Whether a server of ours has it, as it answers that is `asked`; False if nobody does.

    Raises StartupError, in a start's own words, for an address that cannot be had.
    """
    try:
        check_free(listen)
    except OSError as error:
        if not await asked():
            raise StartupError(cannot_listen(listen, error, variable)) from error
        return True
    return False


async def _serves(settings: Settings) -> bool:
    _, answer = await probed(settings, None)
    return "SERVING" in answer


async def _runs(settings: Settings) -> bool:
    """Whether a server of these settings runs; one that shares but the second address does not."""
    try:
        check_free(settings.listen)
    except OSError:
        return await _serves(settings)
    return False


async def _tells_metrics(listen: str) -> bool:
    try:
        async with (
            aiohttp.ClientSession(timeout=_ANSWER) as session,
            session.get(f"http://{reachable(listen)}/metrics") as response,
        ):
            return "turnkeep_build_info" in await response.text()
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return False
