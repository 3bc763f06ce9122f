"""Certificates and keys that are replaced while callers call: new connections use them at once."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conftest import fresh_database_name
from tests.faults.service import environment
from tests.faults.steady_callers import call_on, stored_questions
from tests.faults.workers import events, happens
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.server_process import ServerProcess
from tests.kit.tls_files import Authority, Pair, PairFiles, shown_serial
from turnkeep import ConversationClient, Unauthenticated, Unavailable

pytestmark = [pytest.mark.asyncio(loop_scope="module")]
CA = Authority()
CALLERS = 8
WORKERS = 2
AGE_SECONDS = 1
ESTABLISHED = "01"


class Mount:
    """A folder as Kubernetes mounts a secret: links by way of `..data`, which is turned over."""

    def __init__(self, folder: Path, pair: Pair) -> None:
        self._folder, self._versions = folder, 0
        folder.mkdir()
        self.turn_over_to(pair)
        self.files = PairFiles(folder / "tls.crt", folder / "tls.key")
        for each in (self.files.certificate, self.files.key):
            each.symlink_to(Path("..data", each.name))

    def turn_over_to(self, pair: Pair) -> None:
        """Both files at once, without a change to either of their links."""
        self._versions += 1
        version = self._folder / f"..{self._versions}"
        version.mkdir()
        pair.write(version)
        link = self._folder / "..data_tmp"
        link.symlink_to(version.name)
        os.replace(link, self._folder / "..data")


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Mount:
    """Where the server's certificate and key are."""
    return Mount(tmp_path_factory.mktemp("tls") / "серверу", CA.issue())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    mongod: Mongod, model_provider: OpenAIStub, mount: Mount
) -> AsyncIterator[ServerProcess]:
    """A server of two workers, whose clients connect anew every second."""
    env = environment(
        mongod.url_for(fresh_database_name()),
        model_provider,
        workers=WORKERS,
        max_messages=4,
        max_connection_age_seconds=AGE_SECONDS,
    )
    async with ServerProcess({**env, **mount.files.settings()}) as process:
        yield process


async def test_no_call_fails_while_certificates_are_replaced(
    server: ServerProcess, model: OpenAIStub, mount: Mount, tmp_path: Path
) -> None:
    """By each of the usual ways; a pair that does not fit changes nothing, and is told.

    The clients make one attempt a call: it is the server that loses none.
    """
    model.delay_seconds = 0.02
    ca = CA.write(tmp_path / "ca.pem")
    over, ports = asyncio.Event(), set[str]()
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                ConversationClient(server.address, tls=ca, max_attempts=1)
            )
            for _ in range(CALLERS)
        ]
        calling = [
            asyncio.create_task(call_on(client, n, over)) for n, client in enumerate(clients)
        ]
        watching = asyncio.create_task(watch_connections(server, ports, over))

        pairs = [CA.issue() for _ in range(4)]
        mount.turn_over_to(pairs[0])
        await taken(server, pairs[0], times=1)
        mount.files.replace_by_rename(pairs[1])
        await taken(server, pairs[1], times=2)
        mount.files.replace_in_place(pairs[2])
        await taken(server, pairs[2], times=3)

        mount.files.replace_in_place(Pair(pairs[3].chain, pairs[2].key))
        told = await happens(server, "certificate_not_reloaded", WORKERS)
        assert "is not the key of the certificate in" in told[0]["problem"]
        assert {each["level"] for each in told} == {"error"}
        assert await shown(server) == {pairs[2].serial}
        mount.files.key.write_bytes(pairs[3].key)
        await taken(server, pairs[3], times=4)

        await asyncio.sleep(2 * AGE_SECONDS)
        over.set()
        made = await asyncio.gather(*calling)
        await watching
        stored = {n: await stored_questions(clients[0], n) for n in range(CALLERS)}

    assert stored == {n: Counter(said) for n, said in enumerate(made)}
    assert min(map(len, made)) > 3
    assert len(ports) > 2 * CALLERS  # they did connect anew
    assert len(events(server, "certificate_not_reloaded")) == WORKERS


async def taken(server: ServerProcess, pair: Pair, *, times: int) -> None:
    """Waits until all workers say that they took a pair for so many times, and show this one."""
    await happens(server, "certificate_reloaded", times * WORKERS)
    assert await shown(server) == {pair.serial}


async def shown(server: ServerProcess) -> set[int]:
    """The serial numbers that new connections are shown; enough of them to meet all workers."""
    each = (asyncio.to_thread(shown_serial, server.address) for _ in range(8))
    return {*await asyncio.gather(*each)}


async def watch_connections(server: ServerProcess, ports: set[str], over: asyncio.Event) -> None:
    """Notes the port of each connection to the server, as seen every now and then."""
    port = f"{int(server.address.rpartition(':')[2]):04X}"
    while not over.is_set():
        # gRPC's sockets are of IPv6, to 127.0.0.1 as well.
        for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]:
            _, ours, theirs, state, *_ = line.split()
            if theirs.endswith(f":{port}") and state == ESTABLISHED:
                ports.add(ours)
        await asyncio.sleep(0.2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mutual(
    model_provider: OpenAIStub, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[ServerProcess, Path]]:
    """A server that asks for certificates, and its folder."""
    folder = tmp_path_factory.mktemp("mtls")
    settings = {
        **environment("memory://", model_provider, max_connection_age_seconds=AGE_SECONDS),
        **CA.issue().write(folder).settings(),
        "TURNKEEP_TLS_CLIENT_CA_FILE": str(CA.write(folder / "ca.pem")),
    }
    async with ServerProcess(settings) as process:
        yield process, folder


async def test_a_call_outlives_its_connections_age(
    mutual: tuple[ServerProcess, Path], model: OpenAIStub, tmp_path: Path
) -> None:
    """The old connection stays until the call on it is done."""
    model.delta_delay_seconds = AGE_SECONDS  # of "reply to: ?", three deltas
    async with client_of(mutual[0], CA, CA.issue("caller.example"), tmp_path) as client:
        session = client.session("long")
        began = asyncio.get_running_loop().time()
        reply = await session.stream("?").result()
        assert reply.sequence == 1
        assert asyncio.get_running_loop().time() - began > 2 * AGE_SECONDS


async def test_authorities_of_clients_are_replaced_as_well(
    mutual: tuple[ServerProcess, Path], model: OpenAIStub, tmp_path: Path
) -> None:
    """Who was let in by the former ones is let in no more, once he has to connect anew."""
    server, folder = mutual
    newcomers = Authority()
    former, latter = CA.issue("former.example"), newcomers.issue("latter.example")
    async with client_of(server, CA, former, tmp_path) as client:
        await client.session("former").chat("Кто я? 🙂")
    newcomers.write(folder / "ca.pem")
    await happens(server, "certificate_reloaded", 1)
    async with client_of(server, CA, latter, tmp_path) as client:
        await client.session("latter").chat("你是谁")
    async with client_of(server, CA, former, tmp_path) as client:
        with pytest.raises(Unavailable):
            await client.session("former").chat("Кто я? 🙂")


async def test_a_connection_does_not_outlive_the_authority_of_its_certificate(
    model_provider: OpenAIStub, model: OpenAIStub, tmp_path: Path
) -> None:
    """Where certificates say who calls: refused from about a second on, though it stands."""
    others = Authority()
    settings = {
        **environment("memory://", model_provider, max_connection_age_seconds=0),
        **CA.issue().write(tmp_path).settings(),
        "TURNKEEP_TLS_CLIENT_CA_FILE": str(tmp_path / "ca.pem"),
        "TURNKEEP_MTLS_TENANT": "common_name",
    }
    (tmp_path / "ca.pem").write_bytes(CA.pem + others.pem)
    async with (
        ServerProcess(settings) as server,
        client_of(server, CA, CA.issue(common_name="ours"), tmp_path) as ours,
        client_of(server, CA, others.issue(common_name="theirs"), tmp_path) as theirs,
    ):
        await ours.session("s").chat("Привет")
        await theirs.session("s").chat("你好")
        CA.write(tmp_path / "ca.pem")
        await happens(server, "certificate_reloaded", 1)
        await ours.session("s").chat("Всё ещё я")
        for _ in range(2):
            with pytest.raises(Unauthenticated):
                await theirs.session("s").chat("还是我")
        refused = await happens(server, "calls_refused", 1)
        assert "authority" in refused[-1]["refused_because"]


def client_of(
    server: ServerProcess, authority: Authority, own: Pair, folder: Path
) -> ConversationClient:
    """A client with a certificate of its own, and one attempt a call."""
    files = own.write(folder, f"{own.serial}")
    return ConversationClient(
        server.address,
        tls=authority.write(folder / "server-ca.pem"),
        certificate=(files.certificate, files.key),
        max_attempts=1,
    )
