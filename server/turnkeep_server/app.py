"""The composition root: build, serve, drain. What is opened here is closed here."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import structlog
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from turnkeep.v1 import conversation_pb2_grpc as pb_grpc
from turnkeep_server.admission import Admission
from turnkeep_server.announcement import announce
from turnkeep_server.background import done_before, running
from turnkeep_server.collecting import spare_what_stays
from turnkeep_server.composition import opened_conversations
from turnkeep_server.conversations import Conversations
from turnkeep_server.credentials.identity import identity_of
from turnkeep_server.day_tokens import DayTokens
from turnkeep_server.hangups import hearing_hangups
from turnkeep_server.health import Health
from turnkeep_server.history.contract import HistoryStore, StoreFigures
from turnkeep_server.interceptors.admit import AdmitInterceptor
from turnkeep_server.interceptors.around import SERVICE, Layers
from turnkeep_server.interceptors.auth import AuthInterceptor
from turnkeep_server.interceptors.decode import DecodeInterceptor
from turnkeep_server.interceptors.errors import ErrorsInterceptor
from turnkeep_server.interceptors.guard import GuardInterceptor
from turnkeep_server.interceptors.limit import LimitInterceptor
from turnkeep_server.interceptors.observe import ObserveInterceptor
from turnkeep_server.interceptors.refusals import Refusals
from turnkeep_server.interceptors.refuse import RefuseConnectionsInterceptor, RefuseInterceptor
from turnkeep_server.interceptors.refused_calls import RefusedCalls
from turnkeep_server.listening import bind, conversation_server, health_server
from turnkeep_server.logs import tell_loop_error
from turnkeep_server.permissions import check_table
from turnkeep_server.prompts_file import load_prompts
from turnkeep_server.recording import Recorder
from turnkeep_server.reloading import Reloading
from turnkeep_server.servicer import ConversationServicer
from turnkeep_server.settings import Settings
from turnkeep_server.telemetry.figures import ServerFigures
from turnkeep_server.telemetry.opened import Telemetry, opened_telemetry
from turnkeep_server.tenant_limits import LimitsOfTenants
from turnkeep_server.tenants_file import following_tenants_file
from turnkeep_server.tls import Tls
from turnkeep_server.worker_line import Line, Order

_LAST_ANSWERS_SECONDS = 1.0
_LAST_WRITES_SECONDS = 5.0


class Server:
    """A server over one set of settings: `serve()` once, from start to the end of the drain."""

    def __init__(self, settings: Settings, line: Line | None = None) -> None:
        """`line`: to the supervisor, if this is one worker of several on one address.

        Raises SettingsError for certificates that cannot serve.
        """
        self._settings = settings
        self._line = line
        self._sharing = line is not None  # its address, with the other workers
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._reports = set[asyncio.Task[None]]()
        self._prompts = Reloading(
            partial(
                load_prompts,
                settings.prompts_file,
                allowed_models=settings.allowed_models | {settings.model},
            )
        )
        self._tls = Tls(settings) if settings.tls_certificate_file else None
        self._identity = identity_of(settings, self._tls.client_ca if self._tls else bytes)
        self._health = Health()
        self._day_tokens = DayTokens()
        self._admission = Admission(LimitsOfTenants(settings.tenant_limits), self._day_tokens)
        self._recorder = Recorder(wants_text=settings.log_text)
        self._telemetry = Telemetry(None, "", self._recorder)
        self._store: HistoryStore | None = None
        self._admit = AdmitInterceptor(max_concurrent_calls=settings.max_concurrent_calls)
        anybody, refused = self._identity is None, RefusedCalls()
        limit = LimitInterceptor(self._admission, anybody=anybody)
        refusals = Refusals(
            self._recorder, refused, anybody=anybody, streams=settings.max_concurrent_streams
        )
        by_certificate = settings.mtls_tenant != "off"
        self._grpc = conversation_server(
            settings,
            interceptors=(
                RefuseInterceptor(refusals, self._admit.why_not, limit.why_not),
                Layers(
                    *([RefuseConnectionsInterceptor(refusals, limit)] if by_certificate else []),
                    ObserveInterceptor(self._recorder),
                    ErrorsInterceptor(),
                    AuthInterceptor(self._identity, refused),
                    self._admit,
                    limit,
                    DecodeInterceptor(),
                ),
                *([GuardInterceptor(self._identity)] if self._identity else []),
            ),
            sharing=self._sharing,
        )
        self._health_grpc = health_server(self._health.servicer, sharing=self._sharing)

    async def serve(self) -> None:
        """Serves until SIGTERM or SIGINT, then drains; a second signal ends the waiting.

        A worker drains at SIGTERM, too, but hurries only when its supervisor says so.

        Raises SettingsError or StartupError, each with the remedy.
        """
        asyncio.get_running_loop().set_exception_handler(tell_loop_error)
        self._listen_to_signals()
        # Before anything slow or shared is touched; a worker's address is reserved already.
        addresses = () if self._line else self._bind()
        async with AsyncExitStack() as stack:
            stack.enter_context(hearing_hangups(asked=self._reload, terminal_gone=self._on_signal))
            starting = asyncio.create_task(self._startup(stack))
            if not await done_before(self._stop, starting):
                return
            conversations = starting.result()
            spare_what_stays()
            self._tell_that_it_serves(*addresses)
            await self._stop.wait()
            await self._drain()
            await conversations.settle(_LAST_WRITES_SECONDS)

    async def _startup(self, stack: AsyncExitStack) -> Conversations:
        settings = self._settings
        check_table()
        self._telemetry = await stack.enter_async_context(
            opened_telemetry(
                settings, self._recorder, self._figures, is_worker=self._line is not None
            )
        )
        if self._identity:
            await stack.enter_async_context(self._identity.opened())
        await stack.enter_async_context(
            following_tenants_file(settings.tenants_file, self._admission)
        )
        conversations, store = await stack.enter_async_context(
            opened_conversations(
                settings, self._prompts, spend=self._admission.spend, recorder=self._recorder
            )
        )
        self._store = store
        await stack.enter_async_context(self._day_tokens.shared(store))
        pb_grpc.add_ConversationServiceServicer_to_server(
            ConversationServicer(conversations, settings), self._grpc
        )
        self._health.servicer.add_to(self._grpc)
        if settings.reflection:
            names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._grpc)
        self._health.start()
        await stack.enter_async_context(running(lambda: self._health.follow(store), "health"))
        if tls := self._tls:
            await stack.enter_async_context(running(tls.follow, "certificates"))
        if self._line:
            # Now: a caller who came earlier would wait, though the other workers could serve him.
            self._bind()
        if settings.health_listen:
            await self._health_grpc.start()
            # After the other one: in the drain, probes are to hear of it to the end.
            stack.push_async_callback(self._health_grpc.stop, None)
        await self._grpc.start()
        stack.push_async_callback(self._grpc.stop, None)
        return conversations

    def _bind(self) -> tuple[str, str | None]:
        listen, health_listen = self._settings.listen, self._settings.health_listen
        credentials = self._tls.credentials() if self._tls else None
        address = bind(self._grpc, listen, credentials, sharing=self._sharing)
        if not health_listen:
            return address, None
        variable = "TURNKEEP_HEALTH_LISTEN"
        return address, bind(
            self._health_grpc, health_listen, sharing=self._sharing, variable=variable
        )

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        if self._line:
            # Once and for all: whoever signals every process of the service has one signal in mind.
            loop.add_signal_handler(signal.SIGTERM, self._stop.set)
            self._line.follow(self._obey)
            return
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._on_signal)

    def _obey(self, order: Order) -> None:
        match order:
            case Order.DRAIN:
                self._stop.set()
            case Order.HURRY:
                self._stop.set()
                self._hurry.set()
            case Order.RELOAD:
                self._reload()
            case Order.FIGURES:
                self._report_figures()

    def _report_figures(self) -> None:
        if self._line:
            report = asyncio.create_task(self._line.figures(self._telemetry.snapshot()))
            self._reports.add(report)
            report.add_done_callback(self._reports.discard)

    def _figures(self) -> ServerFigures:
        """How the server does now, for Prometheus."""
        return ServerFigures(
            calls_running=self._admit.running,
            draining=self._stop.is_set(),
            history_up=self._health.store_answers,
            store=self._store.figures() if self._store else StoreFigures(),
        )

    def _reload(self) -> None:
        self._prompts.ask()
        if self._identity:
            self._identity.reload()

    def _tell_that_it_serves(self, address: str = "", health_address: str | None = None) -> None:
        if self._line:
            self._line.serving()
        else:
            metrics = self._telemetry.metrics_address
            announce(self._settings, address, health_address, metrics)

    def _on_signal(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def _drain(self) -> None:
        """In the order that lost no call in 9,911 over 32 restarts: tell, refuse, wait, stop."""
        log = structlog.get_logger()
        log.info("draining", calls=self._admit.running)
        self._health.stop()
        await self._unless_hurried(asyncio.sleep(self._settings.lame_duck_seconds))
        self._admit.refuse_new()
        await self._unless_hurried(
            asyncio.wait_for(self._admit.idle(), self._settings.drain_seconds)
        )
        if self._admit.running:
            log.warning("drain_incomplete", calls_cut_off=self._admit.running)
            # Their turns end CANCELLED, with the text that had come.
            self._admit.cut_off()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._admit.idle(), _LAST_WRITES_SECONDS)
        await self._grpc.stop(_LAST_ANSWERS_SECONDS)

    async def _unless_hurried(self, waiting: Coroutine[Any, Any, object]) -> None:
        tasks = {asyncio.ensure_future(waiting), asyncio.create_task(self._hurry.wait())}
        _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
