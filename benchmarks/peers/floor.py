"""The floor: what a turn costs with nothing but its parts, as low as Python's libraries go.

    TURNKEEP_HISTORY_URL=… OPENAI_BASE_URL=… .venv/bin/python -m benchmarks.peers.floor

grpc.aio, three operations on MongoDB as durable as Turnkeep's (the newest 20 turns, an insert, an
update), one POST by aiohttp. Chat and StreamChat alone. It checks nothing, retries nothing, counts
no tokens, keeps no order, logs nothing and knows no session list: a bound to measure against, not a
service. PEER_UVLOOP=1 runs it on uvloop.
"""

import asyncio
import importlib
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import click
import grpc.aio
from aiohttp import ClientSession, TCPConnector
from grpc_health.v1 import health, health_pb2_grpc
from pymongo import AsyncMongoClient
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from benchmarks.peers.environment import Environment
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.v1 import conversation_pb2_grpc as pb_grpc

SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
TURNS = 20
DURABLE = WriteConcern(w="majority", j=True)

Context = grpc.aio.ServicerContext[Any, Any]
Document = dict[str, Any]


class FloorServicer(pb_grpc.ConversationServiceServicer):
    """Chat and StreamChat; the rest is UNIMPLEMENTED, as the generated class has it."""

    def __init__(self, environment: Environment, http: ClientSession) -> None:
        client: AsyncMongoClient[Document] = AsyncMongoClient(environment.history_url)
        self._turns = client.get_default_database()["turns"].with_options(
            write_concern=DURABLE, read_concern=ReadConcern("majority")
        )
        self._http = http
        self._model = environment.model
        self._url = f"{os.environ['OPENAI_BASE_URL']}/chat/completions"

    async def prepare(self) -> None:
        """Makes the one index that there is."""
        await self._turns.create_index([("session_id", 1), ("sequence", 1)], unique=True)

    async def Chat(self, request: pb.ChatRequest, context: Context) -> pb.ChatResponse:
        turn, body = await self._begin(request)
        async with self._http.post(self._url, json=body) as answer:
            text = (await answer.json())["choices"][0]["message"]["content"]
        return await self._complete(turn, text)

    async def StreamChat(
        self, request: pb.ChatRequest, context: Context
    ) -> AsyncIterator[pb.StreamChatResponse]:
        turn, body = await self._begin(request)
        yield pb.StreamChatResponse(started=pb.Started(sequence=turn["sequence"]))
        text = ""
        async with self._http.post(self._url, json={**body, "stream": True}) as answer:
            async for line in answer.content:
                if delta := _delta(line):
                    text += delta
                    yield pb.StreamChatResponse(delta=pb.TextDelta(text=delta))
        yield pb.StreamChatResponse(completed=await self._complete(turn, text))

    async def _begin(self, request: pb.ChatRequest) -> tuple[Document, Document]:
        """The turn that was stored, and what to send to the model."""
        newest = self._turns.find({"session_id": request.session_id}).sort("sequence", -1)
        turns = await newest.limit(TURNS).to_list()
        question = {"role": "user", "content": request.text}
        sequence = turns[0]["sequence"] + 1 if turns else 1
        turn = {"session_id": request.session_id, "sequence": sequence, "messages": [question]}
        await self._turns.insert_one(turn)
        said = [each for earlier in reversed(turns) for each in earlier["messages"]]
        return turn, {"model": self._model, "messages": [SYSTEM, *said, question]}

    async def _complete(self, turn: Document, text: str) -> pb.ChatResponse:
        messages = [*turn["messages"], {"role": "assistant", "content": text}]
        await self._turns.update_one({"_id": turn["_id"]}, {"$set": {"messages": messages}})
        reply = pb.Message(role=pb.ROLE_ASSISTANT, text=text, sequence=turn["sequence"])
        return pb.ChatResponse(message=reply, sequence=turn["sequence"])


def _delta(line: bytes) -> str:
    """The text that a line of a stream brings; "" if none."""
    if not line.startswith(b"data: {"):
        return ""
    choices = json.loads(line[6:])["choices"]
    return (choices[0]["delta"].get("content") or "") if choices else ""


async def main() -> None:
    """Serves until SIGTERM."""
    environment = Environment.read()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    async with ClientSession(connector=TCPConnector(limit=0)) as http:
        servicer = FloorServicer(environment, http)  # type: ignore[abstract]  # two RPCs will do
        await servicer.prepare()
        pb_grpc.add_ConversationServiceServicer_to_server(servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
        port = server.add_insecure_port(environment.listen)
        await server.start()
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        click.echo(f"floor serving on {environment.address(port)}")
        await stop.wait()
        await server.stop(1.0)


def run() -> None:
    """On uvloop if PEER_UVLOOP is set and it is installed."""
    if os.environ.get("PEER_UVLOOP"):
        importlib.import_module("uvloop").run(main())
    else:
        asyncio.run(main())


if __name__ == "__main__":
    run()
