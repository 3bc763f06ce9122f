"""Stock LangChain in grpc.aio: the same chain, by its asynchronous methods.

    TURNKEEP_HISTORY_URL=… OPENAI_API_KEY=… .venv/bin/python -m benchmarks.peers.stock_aio

Serves Turnkeep's RPCs (but for PreviewContext) and gRPC's health service; configured by the
variables that turnkeep-server has, and says like it where it serves. langchain-mongodb's history
has no asynchronous side: LangChain runs its methods in the event loop's threads.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import click
import grpc.aio
from grpc_health.v1 import health, health_pb2_grpc
from langchain_core.messages import AIMessageChunk

from benchmarks.peers import stock_wire as wire
from benchmarks.peers.environment import Environment
from benchmarks.peers.stock import FAILURES, Stock, config
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.v1 import conversation_pb2_grpc as pb_grpc

GRACE_SECONDS = 30.0

Context = grpc.aio.ServicerContext[Any, Any]


class StockServicer(pb_grpc.ConversationServiceServicer):
    """Each RPC, over the chain and its histories."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock

    async def Chat(self, request: pb.ChatRequest, context: Context) -> pb.ChatResponse:
        async with _unavailable_if_it_fails(context):
            reply = await self._stock.chain.ainvoke(
                {"question": wire.question_of(request)}, config(request.user_id, request.session_id)
            )
            return wire.chat_response(reply)

    async def StreamChat(
        self, request: pb.ChatRequest, context: Context
    ) -> AsyncIterator[pb.StreamChatResponse]:
        async with _unavailable_if_it_fails(context):
            yield pb.StreamChatResponse(started=pb.Started(model=self._stock.model))
            reply = AIMessageChunk(content="")
            async for chunk in self._stock.chain.astream(
                {"question": wire.question_of(request)}, config(request.user_id, request.session_id)
            ):
                reply += chunk
                if chunk.text:
                    yield pb.StreamChatResponse(delta=pb.TextDelta(text=chunk.text))
            yield pb.StreamChatResponse(completed=wire.chat_response(reply))

    async def PreviewContext(
        self, request: pb.ChatRequest, context: Context
    ) -> pb.PreviewContextResponse:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "stock LangChain has no such thing")

    async def AddMessages(
        self, request: pb.AddMessagesRequest, context: Context
    ) -> pb.AddMessagesResponse:
        messages = [wire.to_langchain(each) for each in request.messages]
        async with _unavailable_if_it_fails(context):
            await self._stock.history(request.user_id, request.session_id).aadd_messages(messages)
            return pb.AddMessagesResponse(messages=map(wire.to_wire, messages))

    async def ClearSession(
        self, request: pb.ClearSessionRequest, context: Context
    ) -> pb.ClearSessionResponse:
        async with _unavailable_if_it_fails(context):
            await self._stock.history(request.user_id, request.session_id).aclear()
            return pb.ClearSessionResponse()

    async def ListMessages(
        self, request: pb.ListMessagesRequest, context: Context
    ) -> pb.ListMessagesResponse:
        async with _unavailable_if_it_fails(context):
            messages = await self._stock.history(
                request.user_id, request.session_id
            ).aget_messages()
            return wire.page(messages, request)

    async def ListSessions(
        self, request: pb.ListSessionsRequest, context: Context
    ) -> pb.ListSessionsResponse:
        async with _unavailable_if_it_fails(context):
            found = await asyncio.to_thread(self._stock.sessions, request.user_id)
            return wire.session_page(request.user_id, found, request)


@asynccontextmanager
async def _unavailable_if_it_fails(context: Context) -> AsyncIterator[None]:
    try:
        yield
    except FAILURES as error:
        await context.abort(grpc.StatusCode.UNAVAILABLE, type(error).__name__)


async def main() -> None:
    """Serves until SIGTERM, then lets running calls end."""
    environment = Environment.read()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    pb_grpc.add_ConversationServiceServicer_to_server(StockServicer(Stock(environment)), server)
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    port = server.add_insecure_port(environment.listen)
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    click.echo(f"stock_aio serving on {environment.address(port)}")
    await stop.wait()
    await server.stop(GRACE_SECONDS)


if __name__ == "__main__":
    asyncio.run(main())
