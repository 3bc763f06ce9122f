"""`turnkeep-server check`: all that a start needs is looked at, each by itself; nothing is written.

Each look is a function: settings in, lines of what a server would do out. What it cannot do is the
error that a start would end with, its remedy in it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

import click

from turnkeep_server.address_check import address, health_address, metrics_address
from turnkeep_server.admission import Admission
from turnkeep_server.day_tokens import DayTokens
from turnkeep_server.errors import HistoryUnavailable, ModelError, SettingsError, StartupError
from turnkeep_server.exit_codes import BAD_SETTINGS, FAILED
from turnkeep_server.history.stores import redacted, scheme_of
from turnkeep_server.own_chain import load_chain
from turnkeep_server.prompts_file import load_prompts
from turnkeep_server.security_check import identity, transport
from turnkeep_server.setting_variables import set_variables
from turnkeep_server.settings import Settings, check_model_key
from turnkeep_server.telemetry.environment import traces_are_wanted, traces_exporter
from turnkeep_server.tenant_limits import LimitsOfTenants
from turnkeep_server.tenants_file import following_tenants_file

Look = Callable[[Settings], AsyncIterator[str]]


async def check(settings: Settings, *, ask_model: bool) -> int:
    """What the process is to exit with: 0; BAD_SETTINGS if any are; FAILED if anything else is.

    The lines are on stdout, in the order of the looks, which run side by side. `ask_model`: have
    the model answer, which costs a token.
    """
    looks: dict[str, Look] = {**LOOKS, "model": asked_model if ask_model else model}
    codes = await asyncio.gather(*(_code(look, settings, name) for name, look in looks.items()))
    told = [line for _, lines in codes for line in lines]
    code = max((each for each, _ in codes), default=0)
    verdict = "a server would start" if not code else "a server would not start, or not work"
    click.echo("\n".join([*told, f"check: {verdict}"]))
    return code


async def _code(look: Look, settings: Settings, name: str) -> tuple[int, list[str]]:
    """What one look gave: an exit code, and its lines. No foreign exception's text is in them."""
    lines: list[str] = []
    try:
        async for line in look(settings):
            lines.append(f"ok   {name}: {line}")  # noqa: PERF401  # kept if the next one fails
    except SettingsError as error:
        return BAD_SETTINGS, [*lines, f"BAD  {name}: {error}"]
    except (StartupError, HistoryUnavailable, ModelError) as error:
        return FAILED, [*lines, f"BAD  {name}: {error}"]
    except Exception as error:  # noqa: BLE001  # a bug in a look: the others' findings count
        return FAILED, [*lines, f"BAD  {name}: unexpected: {type(error).__name__}"]
    return 0, lines


async def settings_(settings: Settings) -> AsyncIterator[str]:
    """Which are set, by name: values may be secrets."""
    yield f"set: {', '.join(set_variables(settings)) or 'none'}"


async def history(settings: Settings) -> AsyncIterator[str]:
    """Reaches the database, and looks at what a server would find there."""
    scheme = scheme_of(settings.history_url)
    shown = redacted(settings.history_url)
    if scheme == "memory":
        yield f"{shown}: in this process's memory; everything is gone when it ends"
    elif scheme == "local":
        from turnkeep_server.history.embedded_mongod import data_folder

        yield f"{shown}: would start a mongod of its own over {data_folder(shown)}"
    else:
        from turnkeep_server.history.mongodb_check import findings

        url = settings.history_url.get_secret_value()
        async for line in findings(url, settings.history_timeout_seconds):
            yield f"{shown}: {line}"


async def prompts(settings: Settings) -> AsyncIterator[str]:
    """Reads the file, as a start would, in a thread."""
    if settings.chain:
        yield f"none: {settings.chain} answers"
        return
    allowed = settings.allowed_models | {settings.model}
    found = await asyncio.to_thread(load_prompts, settings.prompts_file, allowed_models=allowed)
    source = settings.prompts_file or "those that come with the server"
    yield f"{', '.join(each.name for each in found)} ({source})"


async def model(settings: Settings) -> AsyncIterator[str]:
    """Whether the provider takes the key and knows the names; no token is spent."""
    check_model_key(settings)
    if settings.chain:
        await asyncio.to_thread(load_chain, settings.chain)
        yield f"the chain {settings.chain}; what it asks is its own matter"
    elif settings.model == "parrot":
        yield "parrot, which repeats the question"
    else:
        from turnkeep_server.model_check import known_models

        async for line in known_models(settings):
            yield line


async def asked_model(settings: Settings) -> AsyncIterator[str]:
    """The same, and one token of an answer."""
    async for line in model(settings):
        yield line
    if not settings.chain:
        from turnkeep_server.model_check import ask

        yield await ask(settings)


async def tenants(settings: Settings) -> AsyncIterator[str]:
    """Reads the file of tenants' own limits, as a start would."""
    admission = Admission(LimitsOfTenants(settings.tenant_limits), DayTokens())
    async with following_tenants_file(settings.tenants_file, admission):
        if settings.tenants_file:
            own = len(admission.limits.own)
            yield f"{own} with limits of their own in {settings.tenants_file}"


async def telemetry(settings: Settings) -> AsyncIterator[str]:
    """Opens what makes spans, as a start would; none is made, so none is sent."""
    if not traces_are_wanted():
        yield "no traces"
        return
    from turnkeep_server.telemetry.span_export import opened_tracing

    async with opened_tracing(settings):
        yield f"traces go to {traces_exporter()}, as the OTEL_ variables say"


async def limits(settings: Settings) -> AsyncIterator[str]:
    """What a caller would meet."""
    yield (
        f"{settings.max_concurrent_calls} calls at once a process; "
        f"{settings.default_timeout_seconds:g} s a call unless it says how long, "
        f"{settings.max_timeout_seconds:g} s at most"
    )
    tokens = settings.max_input_tokens or "as many tokens as the model reads"
    yield f"{settings.max_messages} messages of a history and {tokens} go to the model, at most"
    stop = settings.lame_duck_seconds + settings.drain_seconds + 20
    yield f"SIGTERM is obeyed within {stop:g} s: give it as long before you kill it"


LOOKS: dict[str, Look] = {
    "settings": settings_,
    "address": address,
    "health address": health_address,
    "metrics address": metrics_address,
    "transport": transport,
    "identity": identity,
    "history": history,
    "prompts": prompts,
    "model": model,
    "limits": limits,
    "tenants": tenants,
    "telemetry": telemetry,
}
"""One visible table of what is looked at, in this order."""
