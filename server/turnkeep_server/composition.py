"""The conversations that the settings describe: store, chain, contexts, summaries, put together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from turnkeep_server.background import running
from turnkeep_server.chain import Chain, ChainForm
from turnkeep_server.context import Context, Contexts, Omitted, estimate_by
from turnkeep_server.conversations import Conversations
from turnkeep_server.direct_chain import stock_chain
from turnkeep_server.history.contract import HistoryStore
from turnkeep_server.history.stores import opened_store, redacted
from turnkeep_server.model_catalog import UNKNOWN, ModelFigures, Models, figures_of, is_known
from turnkeep_server.models import import_provider, opened_model, summarizes
from turnkeep_server.own_chain import OwnChain, load_chain
from turnkeep_server.prompts import DEFAULT, Prompts, parse_prompt
from turnkeep_server.recording import Recorder
from turnkeep_server.reloading import Reloading
from turnkeep_server.running_turns import Spend
from turnkeep_server.settings import Settings
from turnkeep_server.summaries import Summaries
from turnkeep_server.summarizer import Summarizer
from turnkeep_server.tokens import TokenEstimator, count_text
from turnkeep_server.turns import SessionKey, Turn

Notice = Callable[[SessionKey, Omitted], None]

_SUMMARY_INPUT_TOKENS = 8_000
_CHAIN_THREADS = 64


@asynccontextmanager
async def opened_conversations(
    settings: Settings, prompts: Reloading, *, spend: Spend, recorder: Recorder
) -> AsyncIterator[tuple[Conversations, HistoryStore]]:
    """The use cases and the store under them, closed on leaving; `spend` is told of tokens,
    `recorder` of summaries.

    Raises SettingsError or StartupError, each with the remedy.
    """
    models = Models(settings.model, settings.allowed_models, settings.model_figures)
    _warn_of_unknown(models, settings.model_figures)
    estimator = TokenEstimator(models.seeds())
    # Before anything slow or shared is touched: mistakes in the file are to be told at once.
    first_prompts = await prompts.first()
    # MongoDB may keep a start waiting for 20 s: somebody watching is to know what for.
    structlog.get_logger().info("opening_history", history=redacted(settings.history_url))
    async with AsyncExitStack() as stack:
        # In a thread, beside the store's start: the provider's library takes over a second.
        importing = asyncio.create_task(asyncio.to_thread(_load, settings))
        store = await stack.enter_async_context(
            opened_store(
                settings.history_url,
                lease_seconds=settings.lease_seconds,
                operation_timeout_seconds=settings.history_timeout_seconds,
            )
        )
        await importing
        form = await stack.enter_async_context(
            _opened_form(settings, first_prompts, prompts, models)
        )
        notice = await stack.enter_async_context(
            _opened_summaries(settings, store, estimator, spend, recorder)
        )

        conversations = Conversations(
            store=store,
            chain=Chain(
                form, attempts=settings.model_attempts, max_reply_bytes=settings.max_reply_bytes
            ),
            contexts=Contexts(
                models=models,
                estimator=estimator,
                max_messages=settings.max_messages,
                max_input_tokens=settings.max_input_tokens,
                reply_reserve_tokens=settings.reply_reserve_tokens,
                summary_max_tokens=settings.summary_max_tokens if notice else 0,
            ),
            completed=_after_turns(
                models,
                estimator if form.sends_no_more else None,
                notice,
                log_text=settings.log_text,
            ),
            max_page_bytes=settings.max_page_bytes,
            max_session_messages=settings.max_session_messages,
            spend=spend,
        )
        yield conversations, store


def _after_turns(
    models: Models, estimator: TokenEstimator | None, notice: Notice | None, *, log_text: bool
) -> Callable[[SessionKey, Turn, Context], None]:
    """What is done when a turn was completed, before it is answered: nothing that waits."""

    def completed(session: SessionKey, turn: Turn, context: Context) -> None:
        if estimator and context.uncorrected_tokens:
            estimator.learn(turn.model, context.uncorrected_tokens, turn.usage.input_tokens)
        cost_usd = models.figures(turn.model).cost_usd(turn.usage)
        if cost_usd is not None:
            structlog.contextvars.bind_contextvars(cost_usd=round(cost_usd, 8))
        if log_text:
            said = [{"role": each.role.value, "text": each.text} for each in turn.messages]
            structlog.contextvars.bind_contextvars(messages=said)
        if notice:
            notice(session, context.omitted)

    return completed


def _load(settings: Settings) -> None:
    """What takes its time the first time, so that no call has to wait for it."""
    import_provider(settings)
    count_text("")


@asynccontextmanager
async def _opened_form(
    settings: Settings, first: Prompts, reloading: Reloading, models: Models
) -> AsyncIterator[ChainForm]:
    """What is asked: the operator's own chain, or `prompt | model` with prompts that follow."""
    if settings.chain:
        # A Runnable that is not async runs in the loop's threads, six of them by default here.
        threads = ThreadPoolExecutor(_CHAIN_THREADS, thread_name_prefix="chain")
        asyncio.get_running_loop().set_default_executor(threads)
        yield OwnChain(await asyncio.to_thread(load_chain, settings.chain), models=models)
        return
    async with opened_model(settings, settings.model) as model:
        form = stock_chain(model, built_for=settings.model, prompts=first, models=models)
        async with running(lambda: reloading.follow(form.use), "prompts"):
            yield form


@asynccontextmanager
async def _opened_summaries(
    settings: Settings,
    store: HistoryStore,
    estimator: TokenEstimator,
    spend: Spend,
    recorder: Recorder,
) -> AsyncIterator[Notice | None]:
    """What notices that a summary is due; None where there are none."""
    name = settings.summary_model or settings.model
    if not summarizes(settings):
        yield None
        return
    models = Models(name, (), settings.model_figures)
    _warn_of_unknown(models, settings.model_figures)
    # An operator's text, not a template.
    prompt = settings.summary_prompt.replace("{", "{{").replace("}", "}}")
    async with opened_model(settings, name) as model:
        form = stock_chain(
            model,
            built_for=name,
            prompts=Prompts({DEFAULT: parse_prompt(DEFAULT, prompt)}),
            models=models,
        )
        figures = figures_of(name, settings.model_figures)
        summaries = Summaries(
            store=store,
            summarizer=Summarizer(
                Chain(form, attempts=settings.model_attempts),
                estimate=estimate_by(figures, max(1.0, estimator.ratio(name))),
                # By the vocabulary that gives more tokens: any model may be told of them.
                estimate_notes=estimate_by(UNKNOWN, ratio=1.0),
                input_tokens=min(_SUMMARY_INPUT_TOKENS, figures.context_tokens // 2),
                timeout_seconds=settings.summary_timeout_seconds,
            ),
            after_messages=settings.summary_after_messages,
            max_tokens=settings.summary_max_tokens,
            delay_seconds=settings.summary_delay_seconds,
            parallel=settings.summary_parallel,
            spend=spend,
            recorder=recorder,
        )
        async with summaries.running():
            yield summaries.notice


def _warn_of_unknown(models: Models, given: Mapping[str, ModelFigures]) -> None:
    for name in models.names:
        if not is_known(name) and "context_tokens" not in given.get(name, UNKNOWN).model_fields_set:
            structlog.get_logger().warning(
                "model_size_unknown",
                model=name,
                assumed_context_tokens=UNKNOWN.context_tokens,
                remedy="set its context_tokens in TURNKEEP_MODEL_FIGURES",
            )
