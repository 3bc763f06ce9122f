"""Shows that the container image builds and serves, on a Debian machine without a container daemon.

Run as root: `make image-check`. buildah builds the Dockerfile on a base that debootstrap makes in
place of python:3.11-slim, so no image registry is needed either. Then the image's own entry point
runs against a mongod of the embedded extra, a client calls it, its health check is asked and it is
told to stop. The first failure ends the script with status 1; what it started or made is gone then.
"""

import asyncio
import contextlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

from tests.image.buildah import Buildah, install_tools, run
from tests.kit.child import Child, tail
from tests.kit.mongod import Mongod
from tests.kit.ports import free_port
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.v1 import conversation_pb2_grpc as rpc

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGE = "localhost/turnkeep:check"
USER = "10001"
TEXT = "Привет, Turnkeep! 你好 👋"
START_SECONDS = 30.0
STOP_SECONDS = 60.0
passed: list[str] = []


def check(condition: object, claim: str) -> None:
    """Counts a claim that holds. SystemExit when it does not."""
    if not condition:
        raise SystemExit(f"image: FAILED: {claim}")
    passed.append(claim)
    print(f"image: ok: {claim}", flush=True)


def main() -> None:
    """The story, from an empty folder to the last claim."""
    install_tools()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="turnkeep-image-")))
        buildah = Buildah(folder)
        stack.callback(buildah.close)
        buildah.make_base()
        started = time.monotonic()
        buildah.build(REPOSITORY, IMAGE)
        print(f"image: built in {time.monotonic() - started:.0f} s", flush=True)

        config = json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]
        check_configuration(config)
        container = buildah("from", "--pull-never", IMAGE).strip()
        check_content(Path(buildah("mount", container).strip()))
        buildah("umount", container)
        asyncio.run(check_service(buildah, container, config))
    print(f"{len(passed)} passed, 0 failed")


def check_configuration(config: dict[str, Any]) -> None:
    """What docker inspect would show."""
    check(config["Entrypoint"] == ["turnkeep-server"], "the entry point is in exec form")
    check(config["User"] == f"{USER}:{USER}", "the user is a number and not root")
    check("TURNKEEP_LISTEN=0.0.0.0:50051" in config["Env"], "listens on every address, 50051")
    check("50051/tcp" in config["ExposedPorts"], "exposes 50051")
    check(config["Healthcheck"]["Test"][0] == "CMD", "the health check is in exec form")


def check_content(tree: Path) -> None:
    """What is in it, and what is not."""
    total = run("du", "--summarize", "--bytes", "--one-file-system", tree).split()[0]
    ours = run("du", "--summarize", "--bytes", tree / "opt/turnkeep").split()[0]
    print(f"image: {int(total) / 1e6:.0f} MB in all, {int(ours) / 1e6:.0f} MB of it /opt/turnkeep")
    check(not list(tree.glob("opt/turnkeep/**/mongod")), "no mongod inside")
    check(not list(tree.glob("opt/turnkeep/**/pip")), "no pip in the server's environment")


async def check_service(buildah: Buildah, container: str, config: dict[str, Any]) -> None:
    """Runs the container; here it shares this machine's network, so on a free port."""
    address = f"127.0.0.1:{free_port()}"
    async with Mongod(buildah.folder / "mongodb", replica_set="rs0") as mongod:
        settings = {
            "TURNKEEP_LISTEN": address,
            "TURNKEEP_HISTORY_URL": mongod.url_for("turnkeep"),
            "TURNKEEP_MODEL": "parrot",
        }
        given = [part for name, value in settings.items() for part in ("--env", f"{name}={value}")]
        inside = buildah.command("run", *given, container, "--")
        log = buildah.folder / "server.log"

        def child(command: list[str]) -> Child:
            return Child([*inside, *command], env=buildah.environment, stdout=log, stderr=log)

        server = child(config["Entrypoint"])
        try:
            await check_call(address)
            pid = process_of(server.pid, config["Entrypoint"][0])
            check(ids(pid) == {USER}, f"the server runs as {USER}:{USER}")
            check(await child(config["Healthcheck"]["Test"][1:]).wait(30) == 0, "healthy: exits 0")
            os.kill(pid, signal.SIGTERM)
            check(await server.wait(STOP_SECONDS) == 0, "SIGTERM ends the server with 0")
            check(await child(config["Healthcheck"]["Test"][1:]).wait(30) == 1, "not: exits 1")
        except BaseException:
            print(tail(log, 60))
            raise
        finally:
            # buildah's children outlive it.
            for pid in [*descendants(server.pid)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            server.kill()


async def check_call(address: str) -> None:
    """Two turns of one conversation, and what is stored of them."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = rpc.ConversationServiceStub(channel)
        request = pb.ChatRequest(session_id="image", text=TEXT)
        replies = [
            await stub.Chat(request, timeout=START_SECONDS, wait_for_ready=True) for _ in range(2)
        ]
        stored = await stub.ListMessages(pb.ListMessagesRequest(session_id="image"))
    check([each.sequence for each in replies] == [1, 2], "two calls are turns 1 and 2")
    check(TEXT in replies[0].message.text, f"the answer: {replies[0].message.text}")
    check([each.sequence for each in stored.messages] == [1, 1, 2, 2], "four messages are stored")


def descendants(pid: int) -> Iterator[int]:
    """The children of a process, theirs, and so on; none of one that has ended."""
    # Each thread has children of its own.
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, listed.read_text().split()):
                yield child
                yield from descendants(child)


def process_of(buildah_pid: int, command: str) -> int:
    """The server among buildah's children: what would be process 1 of a container."""
    found = None
    for pid in descendants(buildah_pid):
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        # Run by its shebang: python first, then the script.
        if any(Path(os.fsdecode(each)).name == command for each in arguments[:2]):
            found = pid  # the innermost one: those around it are buildah's, with the same words
    if found is None:
        raise SystemExit(f"image: FAILED: no {command} runs in the container")
    return found


def ids(pid: int) -> set[str]:
    """All user and group ids of a process: real, effective, saved, of the file system."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {each for line in lines if line[:4] in ("Uid:", "Gid:") for each in line.split()[1:]}


if __name__ == "__main__":
    main()
