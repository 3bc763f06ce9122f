"""`turnkeep-server check`: all that a start needs, looked at at once, and nothing written."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
import trustme
from pymongo import AsyncMongoClient

from tests.conftest import fresh_database_name
from tests.kit.mongod import Mongod
from tests.kit.openai_stub import OpenAIStub
from tests.kit.ports import bound_socket, free_port
from tests.kit.server_process import ServerProcess
from tests.rpc.command import turnkeep_server

pytestmark = pytest.mark.asyncio(loop_scope="session")
KEY = "sk-s3cret"


@pytest_asyncio.fixture(loop_scope="session")
async def provider_with_models() -> AsyncIterator[OpenAIStub]:
    async with OpenAIStub() as stub:
        stub.models, stub.key = ("gpt-4o-mini", "gpt-4o"), KEY
        yield stub


@pytest.fixture
def env(provider_with_models: OpenAIStub, mongod: Mongod) -> dict[str, str]:
    """Of a server that would start."""
    return {
        "TURNKEEP_LISTEN": f"127.0.0.1:{free_port()}",
        "TURNKEEP_HISTORY_URL": mongod.url_for(fresh_database_name()),
        "OPENAI_BASE_URL": provider_with_models.base_url,
        "OPENAI_API_KEY": KEY,
    }


async def test_it_tells_what_a_server_would_do_and_writes_nothing(
    env: dict[str, str], provider_with_models: OpenAIStub
) -> None:
    ended = await turnkeep_server("check", env=env)

    assert ended.code == 0, ended.stdout + ended.stderr
    for told in (
        "set: OPENAI_API_KEY, OPENAI_BASE_URL, TURNKEEP_HISTORY_URL, TURNKEEP_LISTEN\n",
        f"serve on {env['TURNKEEP_LISTEN']}",
        "replica set rs0, 1 members, primary 127.0.0.1:",
        "turns: would make the indexes session_sequence, ",
        "prompts: default, ",
        "gpt-4o-mini: the provider takes the key and knows the name",
        "1000 calls at once",
        "check: a server would start\n",
    ):
        assert told in ended.stdout
    assert KEY not in ended.stdout + ended.stderr
    assert not provider_with_models.calls, "no token was spent"
    async with AsyncMongoClient[dict[str, object]](env["TURNKEEP_HISTORY_URL"]) as client:
        assert not await client.get_default_database().list_collection_names()


async def test_it_tells_how_long_certificates_and_keys_last(
    env: dict[str, str], tmp_path: Path
) -> None:
    """By their files' own dates; and an address that would be open to all is refused."""
    made = await turnkeep_server("key", "new", "--tenant", "acme", "--days", "9", "--id", "soon")
    keys = tmp_path / "keys.jsonl"
    keys.write_text(made.stdout)
    end = datetime.now(UTC) + timedelta(days=12)
    pair = trustme.CA().issue_cert(
        "turnkeep.example", not_after=end, key_type=trustme.KeyType.ECDSA
    )
    files = {name: str(tmp_path / f"tls.{name}") for name in ("crt", "key")}
    pair.cert_chain_pems[0].write_to_path(files["crt"])
    pair.private_key_pem.write_to_path(files["key"])
    tls = {
        "TURNKEEP_TLS_CERTIFICATE_FILE": files["crt"],
        "TURNKEEP_TLS_KEY_FILE": files["key"],
    }
    env = {**env, "TURNKEEP_LISTEN": f"0.0.0.0:{free_port()}", "TURNKEEP_KEYS_FILE": str(keys)}

    ended = await turnkeep_server("check", env=env)
    assert ended.code == 2
    assert "TURNKEEP_TLS_CERTIFICATE_FILE" in ended.stdout
    metrics = {"TURNKEEP_METRICS_LISTEN": f"0.0.0.0:{free_port()}"}
    ended = await turnkeep_server("check", env={**env, **tls, **metrics})
    assert ended.code == 0, ended.stdout
    assert f"metrics on {metrics['TURNKEEP_METRICS_LISTEN']}, in the clear" in ended.stdout
    assert "let the scraper alone reach it" in ended.stdout
    assert "a certificate for turnkeep.example, until " in ended.stdout
    assert "1 keys of 1 tenants" in ended.stdout
    assert "1 soon will: soon" in ended.stdout
    assert made.stderr.split()[-1] not in ended.stdout + ended.stderr


async def test_beside_the_server_that_has_the_address(server: ServerProcess) -> None:
    """As in a pod: `kubectl exec`."""
    ended = await turnkeep_server("check", env={**server.env, "TURNKEEP_LISTEN": server.address})
    assert ended.code == 0, ended.stdout
    assert f"a server serves on {server.address} already" in ended.stdout


async def test_it_knows_the_indexes_of_a_server_and_one_that_is_another(
    env: dict[str, str],
) -> None:
    assert (await turnkeep_server("repair", env=env)).code == 0
    ended = await turnkeep_server("check", env=env)
    assert ended.stdout.count("all indexes are there") == 2

    async with AsyncMongoClient[dict[str, object]](env["TURNKEEP_HISTORY_URL"]) as client:
        turns = client.get_default_database()["turns"]
        await turns.drop_index("session_sequence")
        await turns.create_index("session_id", name="session_sequence")
    ended = await turnkeep_server("check", env=env)
    assert ended.code == 1
    assert "the index session_sequence is not the one" in ended.stdout


async def test_every_problem_is_told_at_once_and_bad_settings_are_2(
    env: dict[str, str], tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text("default: 7\n")
    bad = {
        **env,
        "TURNKEEP_HISTORY_URL": "mongodb://u:s3cret-w0rd@127.0.0.1/db?w=1",
        "TURNKEEP_PROMPTS_FILE": str(prompts),
        "OPENAI_API_KEY": "sk-wr0ng",
    }
    with bound_socket() as taken:
        taken.listen()
        bad["TURNKEEP_LISTEN"] = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = await turnkeep_server("check", env=bad)

    assert ended.code == 2
    for told in (
        "address: cannot listen",
        "sets w=1",
        "prompts.yaml:1",
        "refuses this server's key",
    ):
        assert told in ended.stdout, ended.stdout
    assert ended.stdout.count("BAD ") == 4
    assert "check: a server would not start" in ended.stdout
    assert "s3cret" not in ended.stdout + ended.stderr
    assert "wr0ng" not in ended.stdout + ended.stderr


async def test_a_database_that_is_away_is_1(env: dict[str, str]) -> None:
    url = f"mongodb://127.0.0.1:{free_port()}/turnkeep"
    away = {**env, "TURNKEEP_HISTORY_URL": url, "TURNKEEP_HISTORY_TIMEOUT_SECONDS": "1"}
    ended = await turnkeep_server("check", env=away)
    assert ended.code == 1
    assert "history: MongoDB did not answer" in ended.stdout


async def test_settings_that_cannot_be_read_are_2_each_named() -> None:
    ended = await turnkeep_server(
        "check", env={"TURNKEEP_LISTEN": "nowhere", "TURNKEEP_DRAIN_SECONDS": "soon"}
    )
    assert ended.code == 2
    assert "TURNKEEP_LISTEN" in ended.stderr
    assert "TURNKEEP_DRAIN_SECONDS" in ended.stderr


@pytest.mark.parametrize(
    ("models", "code", "told"),
    [
        (("gpt-4o",), 1, "the provider does not know gpt-4o-mini"),
        ((), 0, "lists no models"),
    ],
)
async def test_a_model_that_is_not_listed(
    env: dict[str, str],
    provider_with_models: OpenAIStub,
    models: tuple[str, ...],
    code: int,
    told: str,
) -> None:
    """Unknown to a provider that lists others; not to be known of one that lists none."""
    provider_with_models.models = models
    ended = await turnkeep_server("check", env={**env, "TURNKEEP_SUMMARY": "off"})
    assert (ended.code, told in ended.stdout) == (code, True), ended.stdout


async def test_the_model_answers_when_it_is_asked_to(
    env: dict[str, str], provider_with_models: OpenAIStub
) -> None:
    ended = await turnkeep_server("check", "--ask-model", env=env)
    assert ended.code == 0, ended.stdout
    assert "gpt-4o-mini answers" in ended.stdout
    (call,) = provider_with_models.calls
    assert 1 in (call.body.get("max_tokens"), call.body.get("max_completion_tokens"))


async def test_without_a_database_and_a_key(tmp_path: Path) -> None:
    """What `make run` starts with: the parrot, in memory, or a mongod of its own."""
    quiet = {"TURNKEEP_LISTEN": "127.0.0.1:0", "TURNKEEP_MODEL": "parrot"}
    ended = await turnkeep_server("check", env={**quiet, "TURNKEEP_HISTORY_URL": "memory://"})
    assert ended.code == 0
    assert "everything is gone when it ends" in ended.stdout
    folder = tmp_path / "data"
    ended = await turnkeep_server(
        "check", env={**quiet, "TURNKEEP_HISTORY_URL": f"local://{folder}"}
    )
    assert ended.code == 0
    assert f"would start a mongod of its own over {folder}" in ended.stdout
    assert not folder.exists()


def _refused_starts(taken: str) -> dict[str, tuple[dict[str, str], int]]:
    """Settings that a start fails with, and its exit code. `taken`: an address that is."""
    same = {"TURNKEEP_LISTEN": f"127.0.0.1:{free_port()}"}
    listen = same["TURNKEEP_LISTEN"]
    everywhere = listen.replace("127.0.0.1", "0.0.0.0")  # refused
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    return {
        "tenants: a typo": ({"TURNKEEP_TENANTS_FILE": "tenants.yaml"}, 2),
        "tenants: no file": ({"TURNKEEP_TENANTS_FILE": "absent.yaml"}, 2),
        "exporter": ({"OTEL_TRACES_EXPORTER": "zipkin"}, 2),
        "protocol": ({**endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, 2),
        "listen taken": ({"TURNKEEP_LISTEN": taken}, 1),
        "listen elsewhere": ({"TURNKEEP_LISTEN": "192.0.2.1:50051", "TURNKEEP_INSECURE": "1"}, 1),
        "listen in no folder": ({"TURNKEEP_LISTEN": "unix:absent/turnkeep.sock"}, 1),
        "metrics taken": ({"TURNKEEP_METRICS_LISTEN": taken}, 1),
        "metrics elsewhere": ({"TURNKEEP_METRICS_LISTEN": "192.0.2.1:9464"}, 1),
        "health taken": ({"TURNKEEP_HEALTH_LISTEN": taken}, 1),
        "health on the same": ({**same, "TURNKEEP_HEALTH_LISTEN": listen}, 2),
        "metrics on the same": ({**same, "TURNKEEP_METRICS_LISTEN": listen}, 2),
        "metrics on all": ({**same, "TURNKEEP_METRICS_LISTEN": everywhere}, 2),
        "both on the same": (
            {"TURNKEEP_HEALTH_LISTEN": listen, "TURNKEEP_METRICS_LISTEN": listen},
            2,
        ),
    }


@pytest.mark.parametrize("case", _refused_starts(""))
async def test_it_fails_where_a_start_fails_in_the_same_words(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tenants.yaml").write_text("acme:\n  tokens_per_dya: 5\n")
    with bound_socket() as socket:
        socket.listen()
        taken = f"127.0.0.1:{socket.getsockname()[1]}"
        bad, code = _refused_starts(taken)[case]
        env = {
            "TURNKEEP_LISTEN": "127.0.0.1:0",
            "TURNKEEP_MODEL": "parrot",
            "TURNKEEP_HISTORY_URL": "memory://",
            **bad,
        }
        started, checked = await asyncio.gather(
            turnkeep_server(env=env), turnkeep_server("check", env=env)
        )

    told = started.stderr.partition("turnkeep-server: ")[2].strip()
    assert (started.code, checked.code) == (code, code), checked.stdout + started.stderr
    assert told
    assert told in checked.stdout + checked.stderr, (told, checked.stdout)
    assert "would start" not in checked.stdout


async def test_beside_the_server_that_has_all_three_addresses(server: ServerProcess) -> None:
    """None of them is told as taken; but the second and third of one that does not run are."""
    env = {
        **server.env,
        "TURNKEEP_HISTORY_URL": "memory://",
        "TURNKEEP_LISTEN": f"127.0.0.1:{free_port()}",
        "TURNKEEP_HEALTH_LISTEN": f"127.0.0.1:{free_port()}",
        "TURNKEEP_METRICS_LISTEN": f"127.0.0.1:{free_port()}",
    }
    async with ServerProcess(env):
        beside = await turnkeep_server("check", env=env)
        moved = await turnkeep_server(
            "check", env={**env, "TURNKEEP_LISTEN": f"127.0.0.1:{free_port()}"}
        )
    assert beside.code == 0, beside.stdout
    for told in (
        f"a server serves on {env['TURNKEEP_LISTEN']} already",
        f"a server answers probes on {env['TURNKEEP_HEALTH_LISTEN']} already",
        f"a server has its metrics on {env['TURNKEEP_METRICS_LISTEN']} already",
    ):
        assert told in beside.stdout
    assert moved.code == 1
    assert moved.stdout.count("cannot listen on") == 2


async def test_it_tells_of_tenants_and_traces(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "tenants.yaml").write_text("acme:\n  tokens_per_day: 5\n")
    ended = await turnkeep_server(
        "check",
        env={
            **env,
            "TURNKEEP_TENANTS_FILE": str(tmp_path / "tenants.yaml"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://u:s3cret@127.0.0.1:{free_port()}",
        },
    )
    assert ended.code == 0, ended.stdout
    assert "tenants: 1 with limits of their own in" in ended.stdout
    assert "telemetry: traces go to otlp" in ended.stdout
    assert "s3cret" not in ended.stdout + ended.stderr
