"""A secret that is planted somewhere is told nowhere, whatever is called and whatever goes wrong.

`tests/kit/canary.py` does the same, with fewer secrets, for every server that any test starts.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from tests.conftest import fresh_database_name
from tests.faults.torture.launcher import Launcher
from tests.kit import canary, http2
from tests.kit.canary import SecretLeaked, secret
from tests.kit.fail_command import CLOSED, done_but, error, failing
from tests.kit.issuer import AUDIENCE, ISSUER, Issuer, bad_tokens
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import Fault, OpenAIStub
from tests.kit.otlp_sink import OtlpSink
from tests.kit.rpcs import bearer
from tests.kit.scrape import scraped
from tests.kit.server_process import ServerProcess
from tests.rpc.command import turnkeep_server
from tests.rpc.session import message, new_id
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep_server.credentials.contract import Presented
from turnkeep_server.credentials.identity import identity_of
from turnkeep_server.errors import SettingsError, StartupError
from turnkeep_server.history.stores import opened_store
from turnkeep_server.prompts_file import load_prompts
from turnkeep_server.settings import load_settings

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHAIN = f"""
from langchain_core.runnables import RunnableLambda

def build():
    def answer(given):
        asked = str(given["question"])
        raise {{"value": ValueError, "key": KeyError, "os": OSError}}.get(asked[:5], RuntimeError)(
            "{secret("chain")} " + asked
        )
    return RunnableLambda(answer)

def broken():
    raise RuntimeError("{secret("factory")}")
"""
PROMPTS = f"""
default: {{system: "{secret("prompt")} {{topic}}"}}
"""


_LIST_MESSAGES = "/turnkeep.v1.ConversationService/ListMessages"
GOOD_KEY = f"tk_{secret('key-of-a-tenant')}"
ISSUER_OF_TOKENS = Issuer("ec-1")


@dataclass
class Told:
    """All that a server said while it was called."""

    server: ServerProcess
    statuses: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    metrics: str = ""
    spans: OtlpSink = field(default_factory=OtlpSink)


CHANNELS: dict[str, Callable[[Told], str]] = {
    "the log": lambda told: "\n".join(told.server.log),
    "the line on stdout": lambda told: told.server.line,
    "a status or a trailer": lambda told: "\n".join(told.statuses),
    "the initial metadata": lambda told: "\n".join(told.headers),
    "the metrics": lambda told: told.metrics,
    "the spans": lambda told: b"\n".join(told.spans.bodies).decode(errors="replace"),
}
"""Where a secret would be a leak. What the server tells elsewhere is one more line here."""


def found(told: Told) -> dict[str, list[str]]:
    """The leaks by channel."""
    searched = {name: canary.leaks(channel(told)) for name, channel in CHANNELS.items()}
    return {name: leaks for name, leaks in searched.items() if leaks}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("canary")
    (folder / "secretive.py").write_text(CHAIN)
    (folder / "prompts.yaml").write_text(PROMPTS)
    line = {"id": "planted", "sha256": Presented.of(GOOD_KEY).digest.hex(), "tenant": "acme"}
    (folder / "keys").write_text(json.dumps(line))
    (folder / "jwks").write_text(ISSUER_OF_TOKENS.jwks)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def settings(mongod: Mongod, provider: OpenAIStub, folder: Path) -> dict[str, str]:
    """A secret in every setting that can hold one: passwords of both URLs, the key, the prompt."""
    password = secret("password")
    async with AsyncMongoClient[dict[str, Any]](mongod.url) as client:
        name = fresh_database_name()
        await client.admin.command("createUser", name, pwd=password, roles=["root"])
    database = mongod.url_for(fresh_database_name())
    return {
        "TURNKEEP_HISTORY_URL": (
            database.replace("://", f"://{name}:{password}@") + "&authSource=admin"
        ),
        "OPENAI_BASE_URL": provider.base_url.replace("://", f"://user:{secret('userinfo')}@"),
        "OPENAI_API_KEY": canary.KEY,
        "TURNKEEP_KEYS_FILE": str(folder / "keys"),
        "TURNKEEP_JWT_JWKS": str(folder / "jwks"),
        "TURNKEEP_JWT_ISSUER": ISSUER,
        "TURNKEEP_JWT_AUDIENCE": AUDIENCE,
        "TURNKEEP_PROMPTS_FILE": str(folder / "prompts.yaml"),
        "TURNKEEP_SUMMARY_PROMPT": secret("summary-prompt"),
        "TURNKEEP_SUMMARY_AFTER_MESSAGES": "1",
        "TURNKEEP_SUMMARY_DELAY_SECONDS": "0",
        "TURNKEEP_MAX_MESSAGES": "1",
        "TURNKEEP_MODEL_ATTEMPTS": "1",
        "TURNKEEP_HISTORY_TIMEOUT_SECONDS": "1",
        "TURNKEEP_LOG_LEVEL": "debug",
        "PYTHONPATH": str(folder),
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["json", "console"])
async def told(request: pytest.FixtureRequest, settings: dict[str, str]) -> AsyncIterator[Told]:
    """A server that logs all it can, to machines or to people."""
    async with OtlpSink() as sink:
        telling = {
            "TURNKEEP_LOG_FORMAT": request.param,
            "TURNKEEP_METRICS_LISTEN": "127.0.0.1:0",
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        async with ServerProcess({**settings, **telling}) as server:
            yield Told(server, spans=sink)


async def test_no_call_tells_a_secret(told: Told, model: OpenAIStub, mongod: Mongod) -> None:
    """All RPCs, with secrets in all that they may carry, well and under every fault there is."""
    model.reply = lambda _: secret("reply")
    for make in _requests():
        await _call(told, *make)
    for token, is_good in _tokens():
        before = len(told.statuses)
        await _call(told, *_chat(streams=False), token=token)
        assert (len(told.statuses) == before) is is_good
        await _call(told, *_chat(streams=True), token=token)
    for headers in _headers_of_no_client():
        await http2.called(told.server.address, _LIST_MESSAGES, headers)
    assert any("library_record" in line and "cygrpc" in line for line in told.server.log)
    for fault in Fault:
        for streams in (False, True):
            model.faults.append(fault)
            await _call(told, *_chat(streams=streams), seconds=0.5)
    for failure in (CLOSED, error("not allowed", 13), done_but("late", 64)):
        async with failing(mongod, ["find", "aggregate", "insert", "update", "delete"], failure):
            for make in (_chat(streams=False), _chat(streams=True), *_others()):
                await _call(told, *make, seconds=0.5)
    model.heal()

    told.metrics = (await scraped(told.server)).text
    await told.spans.trace_with(lambda span: span.failed)

    assert len(told.statuses) > 20
    assert told.headers
    assert 'code="UNAVAILABLE"' in told.metrics
    assert found(told) == {}


async def test_a_chain_that_raises_tells_no_secret(
    settings: dict[str, str], model: OpenAIStub
) -> None:
    async with ServerProcess({**settings, "TURNKEEP_CHAIN": "secretive:build"}) as server:
        told = Told(server)
        for asked in ("value", "key", "os", "else"):
            for streams in (False, True):
                await _call(told, *_chat(streams=streams, text=f"{asked} {secret('question')}"))
        assert len(told.statuses) == 8
        assert found(told) == {}


def _bad_settings(settings: dict[str, str], folder: Path) -> Iterator[dict[str, str]]:
    """Settings that no server starts with, each with a secret in what is wrong with it."""
    url, word = settings["TURNKEEP_HISTORY_URL"], secret("word")
    (folder / "bad.yaml").write_text(f"default: {{system: '{word} {{'}}\n{word}: [")
    (folder / "worse.yaml").write_text(f"'{word} {word}': {{system: 1, variables: {word}}}\n")
    for history in (
        *(url.replace(secret("password"), word), url.replace("mongodb:", f"{word}:")),
        *(f"mongodb://u:{word}@[", f"mongodb://u:{word}@127.0.0.1:1/?x={word}&w=1"),
        *(f"mongodb://u:{word}:{word}@127.0.0.1:1", f"mongodb://u:{word}@127.0.0.1:1/d"),
        *(f"mongodb://127.0.0.1:1/?authMechanism={word}", f"mongodb+srv://u:{word}@h.invalid:1/"),
        f"mongodb://u:{word}%zz@127.0.0.1:1/",
        *(f"mongodb://u:p/{word}@127.0.0.1:1/x", f"mongodb+srv://u:p/{word}@h.example/x"),
        *(f"mongodb://u:1/{word}@127.0.0.1:1", f"mongodb://u:1?{word}=1@127.0.0.1:1/x"),
        *(f"mongodb://u:a@{word}/b@127.0.0.1:1/x", f"mongodb://u:{word}／@127.0.0.1:1:1/"),
    ):
        yield {**settings, "TURNKEEP_HISTORY_URL": history}
    yield {**settings, "OPENAI_BASE_URL": f"ftp://u:{word}@h"}
    yield {**settings, "OPENAI_BASE_URL": f"http://u:{word}@[h"}
    yield {**settings, "OPENAI_API_KEY": f"{word}\nx"}
    yield {**settings, "TURNKEEP_MODEL_FIGURES": f'{{"{word}'}
    yield {**settings, "TURNKEEP_PROMPTS_FILE": str(folder / "bad.yaml")}
    yield {**settings, "TURNKEEP_PROMPTS_FILE": str(folder / "worse.yaml")}
    yield {**settings, "TURNKEEP_MAX_MESSAGES": word}
    line = {"id": "one", "sha256": word, "tenant": "acme", "key": word, "expires": word}
    (folder / "bad-keys").write_text(f"{json.dumps(line)}\n{word}\n{{{word}")
    yield {**settings, "TURNKEEP_KEYS_FILE": str(folder / "bad-keys")}
    private = {**ISSUER_OF_TOKENS.entry("ec-1"), "d": word}
    for name, jwks in (("private", {"keys": [private]}), ("no-keys", {word: [], "keys": [word]})):
        (folder / name).write_text(json.dumps(jwks))
        yield {**settings, "TURNKEEP_JWT_JWKS": str(folder / name)}
    yield {**settings, "TURNKEEP_JWT_JWKS": f"http://u:{word}@127.0.0.1:1/jwks?token={word}"}


async def test_settings_that_are_refused_are_not_quoted(
    settings: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for env in _bad_settings(settings, folder):
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        with pytest.raises((SettingsError, StartupError)) as refused:
            await _open_what_is_set()
        assert canary.leaks(str(refused.value)) == []


async def _open_what_is_set() -> None:
    """As much of a start as reads settings."""
    settings = load_settings()
    load_prompts(settings.prompts_file, allowed_models=())
    if identity := identity_of(settings):
        async with identity.opened():
            pass
    async with opened_store(
        settings.history_url, lease_seconds=15.0, operation_timeout_seconds=0.2
    ):
        pass


@pytest.mark.parametrize("wrong", ["password", "chain"])
async def test_a_start_that_fails_tells_no_secret(settings: dict[str, str], wrong: str) -> None:
    """A wrong password, in MongoDB's own words; a factory of a chain that raises."""
    settings = {**settings, "TURNKEEP_LISTEN": "127.0.0.1:0"}
    if wrong == "password":
        url = settings["TURNKEEP_HISTORY_URL"].replace(secret("password"), secret("other"))
        settings["TURNKEEP_HISTORY_URL"] = url
    else:
        settings["TURNKEEP_CHAIN"] = "secretive:broken"
    ended = await turnkeep_server(env=settings)
    assert ended.code in (1, 2), ended.stderr
    assert canary.leaks(ended.stdout + ended.stderr) == []


async def test_an_error_text_in_the_log_is_found(
    settings: dict[str, str], model: OpenAIStub
) -> None:
    """What this test is for: a server that logs the text of what caused an error does not pass."""
    with pytest.raises(SecretLeaked, match="its log"):
        await _leak(settings, model)


async def _leak(settings: dict[str, str], model: OpenAIStub) -> None:
    with Launcher() as launcher:
        async with launcher.server(settings, mutant="error-text-logged") as server:
            told = Told(server)
            model.faults.append(Fault.UNAUTHORIZED)
            await _call(told, *_chat(streams=False), seconds=20.0)
            async with asyncio.timeout(5):
                while not any("provider_status" in line for line in server.log):
                    await asyncio.sleep(0.01)
            assert list(found(told)) == ["the log"]


# --- calls ----------------------------------------------------------------------------------------

Make = tuple[str, Any]


def _chat(*, streams: bool, text: str = "", **fields: Any) -> Make:
    said = text or secret("question")
    request = pb.ChatRequest(
        session_id=new_id(),
        text=said,
        variables={"topic": secret("variable"), secret("variable-name"): secret("value")},
        options=pb.ModelOptions(stop=[secret("stop")]),
        **fields,
    )
    return ("StreamChat" if streams else "Chat"), request


def _tokens() -> Iterator[tuple[str, bool]]:
    """Keys and JWTs, and whether they are good; the bad ones in every way that there is."""
    yield GOOD_KEY, True
    claim = {"note": secret("claim")}
    yield ISSUER_OF_TOKENS.token("ec-1", **claim), True
    yield f"tk_{secret('no-such-key')}", False
    yield f"{secret('a')}.{secret('b')}.{secret('c')}", False
    for header in ({"kid": secret("kid")}, {"crit": [secret("crit")]}):
        yield ISSUER_OF_TOKENS.token("ec-1", header=header), False
    for bad in ("tenant", "aud", "iss"):
        yield ISSUER_OF_TOKENS.token("ec-1", **claim, **{bad: f"{secret(bad)} x"}), False
    for _, token in bad_tokens(ISSUER_OF_TOKENS, "ec-1"):
        yield token, False


def _headers_of_no_client() -> Iterator[dict[bytes, bytes]]:
    """Bytes that are no UTF-8 in each part of the metadata, a good key beside them."""
    good, word = f"Bearer {GOOD_KEY}".encode(), secret("header").encode()
    yield {b"authorization": good + b"\xff"}
    yield {b"authorization": good, b"x-secret": word + b"\xff"}
    yield {b"authorization": good, b"x-\xff" + word.lower(): b"1"}
    yield {b"authorization": good, b"x-secret-bin": word + b"!"}
    yield {b"authorization": good, b"grpc-timeout": word}


def _others() -> Iterator[Make]:
    """What does not ask the model; the session is new each time."""
    ids = {"session_id": new_id()}
    yield "AddMessages", pb.AddMessagesRequest(messages=_messages(), **ids)
    yield "ListMessages", pb.ListMessagesRequest(**ids)
    yield "ListSessions", pb.ListSessionsRequest()
    yield "ClearSession", pb.ClearSessionRequest(**ids)


def _messages() -> list[pb.Message]:
    call = pb.ToolCall(
        id=secret("call"), name=secret("tool"), arguments_json=json.dumps({"q": secret("argument")})
    )
    document = pb.File(name=secret("file"), media_type="text/plain", data=secret("data").encode())
    parts = [
        pb.ContentPart(text=secret("part")),
        pb.ContentPart(image_url=f"https://u:{secret('image')}@example.org/a.png"),
        pb.ContentPart(file=document),
    ]
    noted = {secret("key"): secret("value")}
    return [
        message("user", secret("text"), name=secret("name"), metadata=noted),
        message("user", parts=parts),
        message("assistant", tool_calls=[call]),
        message("tool", secret("result"), tool_call_id=secret("call")),
    ]


def _requests() -> Iterator[Make]:
    """All RPCs; then requests that are refused, each with a secret in what is wrong with it."""
    said, big = _messages(), secret("big") * 8_000
    ids = {"session_id": new_id()}
    yield "AddMessages", pb.AddMessagesRequest(messages=said, request_id="r-1", **ids)
    for asked in (said[0], said[1], said[3]):
        topic = {"topic": secret("variable")}
        yield "Chat", pb.ChatRequest(message=asked, variables=topic, **ids)
        yield "StreamChat", pb.ChatRequest(message=asked, variables=topic, **ids)
        yield "PreviewContext", pb.ChatRequest(message=asked, variables=topic, **ids)
    yield "ListMessages", pb.ListMessagesRequest(**ids)
    yield "ListSessions", pb.ListSessionsRequest()
    yield "AddMessages", pb.AddMessagesRequest(messages=said[:1], request_id="r-1", **ids)
    yield "AddMessages", pb.AddMessagesRequest(messages=[said[3]], request_id=secret("r") + "\n")
    yield "AddMessages", pb.AddMessagesRequest(messages=[message("user", tool_calls=[{}])], **ids)
    yield "AddMessages", pb.AddMessagesRequest(messages=said, session_id=f"{secret('s')} s")
    yield "Chat", pb.ChatRequest(text=secret("text"), **ids)  # without the prompt's variable
    yield "Chat", pb.ChatRequest(text=big * 10, **ids)
    yield "ListMessages", pb.ListMessagesRequest(page_token=secret("token"), **ids)
    yield "ListSessions", pb.ListSessionsRequest(page_token=secret("token"))
    for fields in (
        {"prompt": secret("prompt")},
        {"options": pb.ModelOptions(model=secret("model"))},
        {"options": pb.ModelOptions(stop=[big])},
        {"user_id": f"{secret('user')} u"},
        {"variables": {"question": secret("value"), "topic": big}},
    ):
        yield "Chat", pb.ChatRequest(text=secret("text"), **ids, **fields)
    yield "ClearSession", pb.ClearSessionRequest(**ids)


async def _call(
    told: Told, method: str, request: Any, *, seconds: float = 2.0, token: str = GOOD_KEY
) -> None:
    """Makes a call, with secrets in its metadata; what it is told is noted."""
    _, stub = told.server.stub()
    metadata = (("turnkeep-about", "1"), ("x-secret", secret("metadata")), *bearer(token))
    call = getattr(stub, method)(request, timeout=seconds, metadata=metadata)
    try:
        if method == "StreamChat":
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        told.statuses.append(repr((error.details(), error.trailing_metadata())))
    told.headers.append(repr((await call.initial_metadata(), await call.trailing_metadata())))
