"""The arrows of docs/architecture.md: who may import whom, and who may know which library."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "server" / "turnkeep_server"
CLIENT = ROOT / "client" / "turnkeep"
EXTRAS = ("cli", "langchain")  # of the client: they may import more, and nothing imports them
WIRE = {"servicer.py", "wire.py", "validation.py", "permissions.py", "interceptors/"}
PROCESS = {
    "app.py",
    "health_probe.py",
    "health_servicer.py",
    "listening.py",
    "tls.py",
}  # they start servers and channels, and translate nothing
MODEL = {
    "chain.py",
    "completions.py",
    "direct_chain.py",
    "direct_openai.py",
    "prompt_and_model.py",
    "own_chain.py",
    "replies.py",
    "messages.py",
    "models.py",
    "model_check.py",
    "model_failures.py",
    "history/langchain.py",
    "migration/langchain_messages.py",
}
# One is the server's store, the other a source to import from: neither knows of the other.
MONGODB = {"history/mongodb", "history/embedded_mongod.py", "migration/mongodb.py"}
LIBRARIES = {
    "grpc": WIRE | PROCESS | {"credentials/identity.py"},
    "grpc_health": PROCESS | {"interceptors/guard.py"},
    "grpc_reflection": {"app.py"},
    "google": WIRE,
    "turnkeep": WIRE | {"app.py"},
    "langchain_core": MODEL,
    "langchain_openai": MODEL,
    "openai": MODEL,
    "aiohttp": {"address_check.py", "completions.py", "credentials/key_sources.py"},
    "jwt": {"credentials/"},
    "cryptography": {"certificates.py", "health_probe.py", "tls.py", "credentials/"},
    "pymongo": MONGODB,
    "bson": MONGODB,
    "click": {"cli.py", "announcement.py", "backup.py", "checking.py", "migration/command.py"},
    "sqlite3": {"migration/sqlite.py"},
    # Written by what is imported from; never needed to read it.
    "langchain_mongodb": set(),
    "langchain_community": set(),
    "sqlalchemy": set(),
    "yaml": {"yaml_document.py"},
    "prometheus_client": {
        "telemetry/metrics.py",
        "telemetry/merged.py",
        "telemetry/port.py",
        "telemetry/workers.py",
    },
    "opentelemetry": {
        "telemetry/tracing.py",
        "telemetry/span_encoding.py",
        "telemetry/span_export.py",
    },
}
# What a layer may not import of the layers above it.
ABOVE = {
    "conversations.py": {"servicer", "wire", "validation", "interceptors", "app", "telemetry"},
    "running_turns.py": {"conversations", "servicer", "wire", "interceptors", "app", "telemetry"},
    "chain.py": {"conversations", "history", "servicer", "wire", "app", "telemetry"},
    "prompt_and_model.py": {"conversations", "history", "servicer", "wire", "app"},
    "direct_chain.py": {"conversations", "history", "servicer", "wire", "app"},
    "own_chain.py": {"conversations", "history", "servicer", "wire", "app"},
    "context_window.py": {"conversations", "history", "chain"},
    "context.py": {"conversations", "summaries", "servicer", "wire", "app"},
    "summaries.py": {"conversations", "servicer", "wire", "app"},
    "reservation.py": {"conversations", "chain", "servicer", "wire"},
    "history/": {
        "reservation",
        "conversations",
        "chain",
        "servicer",
        "wire",
        "interceptors",
        "app",
        "settings",
        "migration",
        "telemetry",
    },
    "credentials/": {"conversations", "history", "servicer", "wire", "interceptors", "app"},
    # An import is a client of the store beside the server, not a part of it.
    "migration/": {"conversations", "reservation", "chain", "servicer", "interceptors", "app"},
    # The supervisor starts servers and is none: what they load would be one more copy of it.
    "supervisor.py": {"app", "composition", "conversations", "servicer", "interceptors"},
    # Whoever listens is told; the domain knows of no listener.
    "records.py": {"recording", "telemetry", "conversations", "chain", "history"},
    "recording.py": {"telemetry", "conversations", "chain", "history", "interceptors", "app"},
    "telemetry/": {"conversations", "chain", "servicer", "interceptors", "app", "composition"},
    "turns.py": {"*"},
    "errors.py": {"*"},
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)


def modules() -> list[str]:
    return sorted(str(path.relative_to(SERVER)) for path in SERVER.rglob("*.py"))


@pytest.mark.parametrize("module", modules())
def test_a_library_is_known_only_where_the_design_says(module: str) -> None:
    for imported in imports(SERVER / module):
        allowed = LIBRARIES.get(imported.split(".")[0])
        if allowed is not None:
            assert module.startswith(tuple(allowed)), f"{module} imports {imported}"


@pytest.mark.parametrize("module", modules())
def test_the_arrows_run_one_way(module: str) -> None:
    ours = {each.split(".")[1] for each in imports(SERVER / module) if "turnkeep_server." in each}
    for layer, above in ABOVE.items():
        if module.startswith(layer):
            assert not (ours if "*" in above else ours & above), module


def test_the_client_never_imports_the_server() -> None:
    for path in (ROOT / "client").rglob("*.py"):
        assert not any(each.startswith("turnkeep_server") for each in imports(path)), path


def client_modules() -> list[str]:
    return sorted(str(path.relative_to(CLIENT)) for path in CLIENT.rglob("*.py"))


@pytest.mark.parametrize(
    "module", [each for each in client_modules() if not each.startswith(EXTRAS)]
)
def test_the_clients_core_needs_grpc_and_protobuf_only(module: str) -> None:
    allowed = {*sys.stdlib_module_names, "grpc", "google", "turnkeep"}
    for imported in imports(CLIENT / module):
        top, *rest = imported.split(".")
        assert top in allowed, f"{module} imports {imported}"
        if top == "google":
            assert rest[0] == "protobuf", f"{module} imports {imported}"
        if top == "turnkeep" and rest:
            assert rest[0] not in EXTRAS, f"{module} imports {imported}"


def test_the_client_knows_langchain_in_its_adapter_only() -> None:
    known = {
        module.split("/")[0]
        for module in client_modules()
        for imported in imports(CLIENT / module)
        if imported.startswith("langchain")
    }
    assert known == {"langchain"}


def test_the_server_imports_only_the_stubs_of_the_client() -> None:
    for module in modules():
        for imported in imports(SERVER / module):
            if imported.split(".")[0] == "turnkeep":
                assert imported.startswith("turnkeep.v1"), f"{module} imports {imported}"
