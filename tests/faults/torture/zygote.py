"""`python -m tests.faults.torture.zygote`: has imported what the service needs, and forks it.

Reads requests from the socket that is its stdin, one JSON object a line, and answers each with one:

    {"start": {Job's fields}}  → {"pid": 7}
    {"ready": true}            → {}, once it has imported everything
    {"poll": 7}                → {"code": null} while it runs, else the exit code, -N after signal N
    {"kill": 7}                → {"code": -9}, once it is gone

It ends with the process that started it, and each server ends with it, be it the command with
arguments, which is no server. gRPC is never imported here:
it starts threads, which a fork loses.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kit.child import PR_SET_PDEATHSIG

# Nearly all that `python -m turnkeep_server` comes to import, but for gRPC and what is made of it.
_IMPORTED = (
    "langchain_openai",
    "google.protobuf.message_factory",
    "google.rpc.error_details_pb2",
    "turnkeep_server.composition",
    "turnkeep_server.history.mongodb",
    "turnkeep_server.caller",
    "turnkeep_server.cli",
    "turnkeep_server.prompts_file",
    "tests.faults.torture.mutants",
    "tests.faults.torture.steps",
)
_STDIN, _STDOUT, _STDERR = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Job:
    """A server to be started: its whole environment, and where its output is added to.

    `arguments` are those of the command, of which a server has none.
    """

    env: dict[str, str]
    stdout: str
    stderr: str
    mutant: str = ""
    die_at: tuple[str, int] | None = None
    arguments: tuple[str, ...] = ()
    folder: str = field(default_factory=os.getcwd)


def main() -> None:
    """Serves requests until nobody is there to send them; in a child, becomes the service."""
    requests = socket.socket(fileno=os.dup(_STDIN))
    for name in _IMPORTED:
        importlib.import_module(name)
    _warm_up()
    _check_forkable()
    gc.collect()
    gc.freeze()  # or each child's first collection would copy it all
    job = _serve(requests)
    if job:
        requests.close()
        _become(job)


def _warm_up() -> None:
    from turnkeep_server.tokens import count_text

    count_text("")  # reads its tables


def _check_forkable() -> None:
    grpc = [name for name in sys.modules if name.partition(".")[0] in {"grpc", "turnkeep"}]
    threads = len(list(Path("/proc/self/task").iterdir())) if sys.platform == "linux" else 1
    if grpc or threading.active_count() > 1 or threads > 1:
        sys.exit(
            f"cannot fork: {threads} threads, imported: {', '.join(sorted(grpc)) or 'no gRPC'}"
        )


def _serve(requests: socket.socket) -> Job | None:
    """Answers requests; returns in each child with its job, and here when there are no more."""
    codes: dict[int, int] = {}
    with requests.makefile("rw") as lines:
        for line in lines:
            request: dict[str, Any] = json.loads(line)
            if "start" in request:
                job = Job(**request["start"])
                pid = os.fork()
                if pid == 0:
                    return job
                # Of a child long gone, whose process id this one got: a thousand wrap around.
                codes.pop(pid, None)
                answer: dict[str, Any] = {"pid": pid}
            elif "ready" in request:
                answer = {}
            elif "poll" in request:
                answer = {"code": _code(request["poll"], codes, os.WNOHANG)}
            else:
                pid = request["kill"]
                if _code(pid, codes, os.WNOHANG) is None:
                    os.kill(pid, signal.SIGKILL)
                answer = {"code": _code(pid, codes, 0)}
            lines.write(json.dumps(answer) + "\n")
            lines.flush()
    return None


def _code(pid: int, codes: dict[int, int], options: int) -> int | None:
    """The exit code of a child, which is waited for once; until then its pid is nobody else's."""
    if pid not in codes:
        ended, status = os.waitpid(pid, options)
        if ended == 0:
            return None
        codes[pid] = os.waitstatus_to_exitcode(status)
    return codes[pid]


def _become(job: Job) -> None:
    """What the shell does for a command, then the command; returns by SystemExit alone."""
    zygote = os.getppid()
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != zygote:
            os._exit(1)
    _redirect(job)
    os.environ.clear()
    os.environ.update(job.env)
    os.chdir(job.folder)
    sys.argv = ["turnkeep-server", *job.arguments]
    from turnkeep_server.cli import main as turnkeep_server

    if job.mutant or job.die_at:
        _make_wrong(job)
    turnkeep_server(prog_name="turnkeep-server")


def _redirect(job: Job) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, _STDIN)
    for path, number in ((job.stdout, _STDOUT), (job.stderr, _STDERR)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    os.close(null)


def _make_wrong(job: Job) -> None:
    from tests.faults.torture.mutants import apply_mutant
    from tests.faults.torture.steps import arm

    # As the service does before it imports gRPC; a change may import that to change it.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
    if job.mutant:
        apply_mutant(job.mutant)
    if job.die_at:
        arm(*job.die_at)


if __name__ == "__main__":
    main()
