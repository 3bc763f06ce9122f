"""Servers of what is tortured, over one store, each on a port that it keeps."""

import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from tests.faults.service import environment
from tests.faults.torture.launcher import ForkedServer, Launcher
from tests.faults.torture.sections import Plan, Service
from tests.kit.openai_stub import OpenAIStub
from tests.kit.ports import free_port
from tests.kit.server_process import ServerProcess

LEASE_SECONDS = 1.0
# A dead server's turn is ended when its lease was seen run out twice, a second apart.
SETTLE_SECONDS = 3.0
_MODULES = {
    Service.STOCK_AIO: "benchmarks.peers.stock_aio",
    Service.STOCK_THREADS: "benchmarks.peers.stock_threads",
}
# Sessions of the workload are shorter than this, so that every turn sees all before it.
_WINDOW_MESSAGES = 1_000

Make = Callable[[Mapping[str, str]], ServerProcess]


@asynccontextmanager
async def maker(plan: Plan) -> AsyncIterator[Make]:
    """Makes servers of the plan's service, not started yet. They end with this."""
    module = _MODULES.get(plan.service)
    if module:
        yield lambda env: ServerProcess({**env, "PEER_TUNED": "1"}, module=module)
        return
    with Launcher() as launcher:
        await launcher.ready()
        yield lambda env: launcher.server(env, mutant=plan.mutant)


@asynccontextmanager
async def fleet(
    make: Make, history_url: str, model: OpenAIStub, count: int, **settings: object
) -> AsyncIterator[list[ServerProcess]]:
    """`count` servers that serve, with settings by their names in lower case."""
    wanted = {"lease_seconds": LEASE_SECONDS, "max_messages": _WINDOW_MESSAGES, **settings}
    env = environment(history_url, model, **wanted)
    async with AsyncExitStack() as stack:
        servers = []
        for _ in range(count):
            server = make({**env, "TURNKEEP_LISTEN": f"127.0.0.1:{free_port()}"})
            servers.append(await stack.enter_async_context(server))
        yield servers


async def restarted(server: ServerProcess, die_at: tuple[str, int] | None = None) -> None:
    """Kills a server, if it still runs, and starts it again. `die_at`: see ForkedServer."""
    server.kill()
    if isinstance(server, ForkedServer):
        server.die_at = die_at
    try:
        await server.start()
    except RuntimeError:
        # Calls come as soon as its port is open: it may pass the step before it says its line.
        if not die_at or await server.wait() != -signal.SIGKILL:
            raise
