"""The image's own entry point, run confined, called with TLS and a token, and stopped."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import grpc

from tests.image.claims import check
from tests.image.confined import Confined
from tests.kit.child import tail
from tests.kit.mongod import Mongod
from tests.kit.ports import free_port
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.v1 import conversation_pb2_grpc as rpc

USER = "10001"
TEXT = "Привет, Turnkeep! 你好 👋"
START_SECONDS = 30.0
STOP_SECONDS = 60.0


async def check_service(folder: Path, tree: Path, config: dict[str, Any]) -> None:
    """Runs the container; here it shares this machine's network, so on a free port."""
    port = free_port()
    image_env = dict(each.split("=", 1) for each in config["Env"])
    async with Mongod(folder / "mongodb", replica_set="rs0") as mongod:
        settings = {
            **image_env,
            "TURNKEEP_LISTEN": f"0.0.0.0:{port}",
            "TURNKEEP_HEALTH_LISTEN": f"127.0.0.1:{free_port()}",
            "TURNKEEP_HISTORY_URL": mongod.url_for("turnkeep"),
            "TURNKEEP_MODEL": "parrot",
        }
        confined = Confined(tree, f"{USER}:{USER}", settings)
        written = confined("touch", "/opt/turnkeep/x", "/tmp/x", "/x")
        check(written.stderr.count(b"Read-only file system") == 3, "the root is read-only")
        refused = confined(*config["Entrypoint"])
        check(refused.returncode == 2, "it refuses to serve others without TLS and identity")
        token, secured = new_key(confined, tree)
        confined = Confined(tree, f"{USER}:{USER}", {**settings, **secured})
        health = config["Healthcheck"]["Test"][1:]
        looked_at = confined(*config["Entrypoint"], "check")
        check(looked_at.returncode == 0, "turnkeep-server check: a server would start")
        log = folder / "server.log"
        server = confined.child(config["Entrypoint"], log)
        try:
            await check_calls(
                f"127.0.0.1:{port}", (tree / "etc/turnkeep/tls.crt").read_bytes(), token
            )
            status = Path(f"/proc/{server.pid}/status").read_text()
            check(ids(status) == {USER}, f"the server runs as {USER}:{USER}")
            check("CapEff:\t0000000000000000" in status, "it has no privileges")
            check(confined(*health).returncode == 0, "healthy: exits 0")
            backup = confined(*config["Entrypoint"], "backup", "-")
            check(b"backed up: 2 turns, 4 messages" in backup.stderr, "a backup goes to stdout")
            os.kill(server.pid, signal.SIGTERM)
            check(await server.wait(STOP_SECONDS) == 0, "SIGTERM ends the server with 0")
            check(confined(*health).returncode == 1, "not: exits 1")
        except BaseException:
            print(tail(log, 60))
            raise
        finally:
            server.kill()


def new_key(confined: Confined, tree: Path) -> tuple[str, dict[str, str]]:
    """A token made by the image itself, and the settings that ask for TLS and one."""
    made = confined("turnkeep-server", "key", "new", "--tenant", "acme")
    token = re.search(rb"\btk_\S+", made.stderr)
    if token is None:
        raise SystemExit(f"image: FAILED: no key was made: {made.stderr.decode()}")
    (tree / "etc/turnkeep/keys.jsonl").write_bytes(made.stdout)
    files = {"TLS_CERTIFICATE": "tls.crt", "TLS_KEY": "tls.key", "KEYS": "keys.jsonl"}
    return token[0].decode(), {
        f"TURNKEEP_{name}_FILE": f"/etc/turnkeep/{file}" for name, file in files.items()
    }


async def check_calls(address: str, authority: bytes, token: str) -> None:
    """Two turns of one conversation, and what is stored of them; and callers without a token."""
    credentials = grpc.ssl_channel_credentials(authority)
    async with grpc.aio.secure_channel(address, credentials) as channel:
        stub = rpc.ConversationServiceStub(channel)
        request = pb.ChatRequest(session_id="image", text=TEXT)
        bearer = (("authorization", f"Bearer {token}"),)
        how: dict[str, Any] = {"timeout": START_SECONDS, "metadata": bearer}
        replies = [await stub.Chat(request, wait_for_ready=True, **how) for _ in range(2)]
        stored = await stub.ListMessages(pb.ListMessagesRequest(session_id="image"), **how)
        refused = await code_of(stub.Chat(request, timeout=START_SECONDS))
    check([each.sequence for each in replies] == [1, 2], "with TLS and a token, two turns")
    check(TEXT in replies[0].message.text, f"the answer: {replies[0].message.text}")
    check([each.sequence for each in stored.messages] == [1, 1, 2, 2], "four messages are stored")
    check(refused is grpc.StatusCode.UNAUTHENTICATED, "without a token: UNAUTHENTICATED")
    async with grpc.aio.insecure_channel(address) as channel:
        refused = await code_of(
            rpc.ConversationServiceStub(channel).Chat(request, timeout=5, metadata=bearer)
        )
    check(refused is grpc.StatusCode.UNAVAILABLE, "without TLS: UNAVAILABLE")


async def code_of(call: Any) -> grpc.StatusCode | None:
    """The status of a call that failed; None if it did not."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return None


def ids(status: str) -> set[str]:
    """All user and group ids of a process: real, effective, saved, of the file system."""
    lines = status.splitlines()
    return {each for line in lines if line[:4] in ("Uid:", "Gid:") for each in line.split()[1:]}
