"""Whether the model's provider can be used, found out without spending a token unless asked to."""

from collections.abc import AsyncIterator
from typing import Any

import openai

from turnkeep_server.errors import ModelMisconfigured
from turnkeep_server.model_failures import FAILURES, model_error
from turnkeep_server.models import PARROT, opened_model, summarizes
from turnkeep_server.settings import Settings

_SECONDS = 10.0


async def known_models(settings: Settings) -> AsyncIterator[str]:
    """Asks the provider for each model by name (GET /models/NAME), which it does not charge for.

    Raises ModelError if it refuses the key, does not know a name, or cannot be reached.
    """
    wanted = {settings.model, *settings.allowed_models} - {PARROT}
    if summarizes(settings):
        wanted.add(settings.summary_model or settings.model)
    async with opened_model(settings, settings.model) as opened:
        models = _provider(opened).models
        unknown = [name for name in sorted(wanted) if not await _is_known(models, name)]
        if not unknown:
            yield f"{', '.join(sorted(wanted))}: the provider takes the key and knows the name"
        elif await _lists_models(models):
            raise ModelMisconfigured(
                f"the provider does not know {', '.join(unknown)}: mend TURNKEEP_MODEL, "
                "TURNKEEP_ALLOWED_MODELS or TURNKEEP_SUMMARY_MODEL"
            )
        else:
            yield (
                f"{', '.join(unknown)}: the provider answers, but lists no models, so whether it "
                "knows the name is not known; --ask-model has it answer"
            )


async def ask(settings: Settings) -> str:
    """Has the model answer with one token. Raises ModelError."""
    async with opened_model(settings, settings.model) as opened:
        try:
            await opened.ainvoke("ping", max_tokens=1)
        except FAILURES as error:
            raise model_error(error, begun=False) from error
    return f"{settings.model} answers"


def _provider(opened: Any) -> openai.AsyncOpenAI:
    provider: openai.AsyncOpenAI = opened.root_async_client
    return provider.with_options(timeout=_SECONDS, max_retries=0)


async def _is_known(models: Any, name: str) -> bool:
    try:
        await models.retrieve(name)
    except openai.NotFoundError:
        return False
    except FAILURES as error:
        raise model_error(error, begun=False) from error
    return True


async def _lists_models(models: Any) -> bool:
    try:
        return bool((await models.list()).data)
    except FAILURES:
        return False
