"""A real server for the fuzzer, and what must hold of it when the fuzzer has done its worst."""

import json
from dataclasses import dataclass
from pathlib import Path

import grpc.aio

from tests.fuzz import values
from tests.fuzz.wire import Answers, structure_of
from tests.kit.server_process import ServerProcess
from turnkeep.v1 import conversation_pb2 as pb

_SECONDS = 30.0
_PAGE = 1_000
_PROMPTS = """
default: {system: "You help."}
topical: {system: "About {topic}, and {{no}} braces."}
"""
# What a log line may say: a new one is to be looked at before it is added.
LOGGED = {
    *("timestamp", "level", "event", "method", "code", "ms", "request_id", "sequence", "reason"),
    *(
        "input_tokens",
        "output_tokens",
        "cost_usd",
        "problem",
        "cause",
        "provider_status",
        "replayed",
    ),
    *("history", "model", "address", "error_type", "stack", "error_id", "at", "category", "calls"),
    *("logger", "template", "times", "worker", "trace_id", "tenant", "credential", "limit"),
}


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What was found when all was sent."""

    sessions: int
    messages: int
    wrong: tuple[str, ...]
    peak_mib: float


def environment(history_url: str, folder: Path) -> dict[str, str]:
    """What configures a server with the parrot model and two prompts, which logs all it can."""
    prompts = folder / "prompts.yaml"
    prompts.write_text(_PROMPTS)
    return {
        "TURNKEEP_HISTORY_URL": history_url,
        "TURNKEEP_MODEL": "parrot",
        "TURNKEEP_PROMPTS_FILE": str(prompts),
        "TURNKEEP_LOG_FORMAT": "json",
        "TURNKEEP_LOG_LEVEL": "debug",
    }


def fuzz_server(history_url: str, folder: Path) -> ServerProcess:
    """Such a server; its log is searched for what callers said when it ends."""
    return ServerProcess(environment(history_url, folder))


async def aftermath(server: ServerProcess, answers: Answers) -> Aftermath:
    """Looks at the server, at every session that it lists, and at every line of its log."""
    wrong = [
        f"{what}, for {request.method} {request.body[:300]!r}" for what, request in answers.broken
    ]
    _, stub = server.stub()
    greeting = pb.ChatRequest(session_id="afterwards", text="Ещё тут?")
    if (await stub.Chat(greeting, timeout=_SECONDS)).sequence != 1:
        wrong.append("a new session does not begin with 1")
    sessions = messages = 0
    for user in sorted(set(values.USERS)):
        for session in await _sessions(server, user):
            try:
                found = await _messages(server, user, session)
            except grpc.aio.AioRpcError as error:
                wrong.append(f"{user}/{session} cannot be listed: {error.details()}")
                continue
            wrong += [f"{user}/{session}: {each}" for each in structure_of(found)]
            sessions, messages = sessions + 1, messages + len(found)
    wrong += _wrong_lines(server.log)
    server.overheard.clear()  # all that was said carries the mark; ids are used as texts too
    return Aftermath(sessions, messages, tuple(wrong), _peak_mib(server.pid))


async def _sessions(server: ServerProcess, user: str) -> list[str]:
    request, found = pb.ListSessionsRequest(user_id=user, page_size=_PAGE), list[str]()
    _, stub = server.stub()
    while True:
        page = await stub.ListSessions(request, timeout=_SECONDS)
        found += [each.session_id for each in page.sessions]
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def _messages(server: ServerProcess, user: str, session: str) -> list[pb.Message]:
    request = pb.ListMessagesRequest(
        user_id=user, session_id=session, page_size=_PAGE, include_unfinished=True
    )
    found, (_, stub) = list[pb.Message](), server.stub()
    while True:
        page = await stub.ListMessages(request, timeout=_SECONDS)
        found += page.messages
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def _wrong_lines(log: list[str]) -> list[str]:
    """Lines that are no line of ours: a caller's newline would make such."""
    wrong = []
    for line in log:
        try:
            said = json.loads(line)
        except ValueError:
            wrong.append(f"a log line that is no JSON: {line:.200}")
            continue
        if unknown := set(said) - LOGGED:
            wrong.append(f"a log line says what none should: {sorted(unknown)}")
        if said.get("level") == "error":
            wrong.append(f"a log line tells an error: {line:.1000}")
    return wrong[:50]


def _peak_mib(pid: int) -> float:
    """The most memory that a process has had in RAM."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0
