"""Stock LangChain in a gRPC server with threads, as its synchronous documentation leads to.

    TURNKEEP_HISTORY_URL=… OPENAI_API_KEY=… .venv/bin/python -m benchmarks.peers.stock_threads

Serves Turnkeep's RPCs (but for PreviewContext) and gRPC's health service; configured by the
variables that turnkeep-server has, and says like it where it serves.
"""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import click
import grpc
from grpc_health.v1 import health, health_pb2_grpc
from langchain_core.messages import AIMessageChunk

from benchmarks.peers import stock_wire as wire
from benchmarks.peers.environment import Environment
from benchmarks.peers.stock import FAILURES, Stock, config
from turnkeep.v1 import conversation_pb2 as pb
from turnkeep.v1 import conversation_pb2_grpc as pb_grpc

THREADS = 64
GRACE_SECONDS = 30.0


class StockServicer(pb_grpc.ConversationServiceServicer):
    """Each RPC, over the chain and its histories."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock

    def Chat(self, request: pb.ChatRequest, context: grpc.ServicerContext) -> pb.ChatResponse:
        with _unavailable_if_it_fails(context):
            reply = self._stock.chain.invoke(
                {"question": wire.question_of(request)}, config(request.user_id, request.session_id)
            )
            return wire.chat_response(reply)

    def StreamChat(
        self, request: pb.ChatRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.StreamChatResponse]:
        with _unavailable_if_it_fails(context):
            yield pb.StreamChatResponse(started=pb.Started(model=self._stock.model))
            reply = AIMessageChunk(content="")
            for chunk in self._stock.chain.stream(
                {"question": wire.question_of(request)}, config(request.user_id, request.session_id)
            ):
                reply += chunk
                if chunk.text:
                    yield pb.StreamChatResponse(delta=pb.TextDelta(text=chunk.text))
            yield pb.StreamChatResponse(completed=wire.chat_response(reply))

    def PreviewContext(
        self, request: pb.ChatRequest, context: grpc.ServicerContext
    ) -> pb.PreviewContextResponse:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "stock LangChain has no such thing")

    def AddMessages(
        self, request: pb.AddMessagesRequest, context: grpc.ServicerContext
    ) -> pb.AddMessagesResponse:
        messages = [wire.to_langchain(each) for each in request.messages]
        with _unavailable_if_it_fails(context):
            self._stock.history(request.user_id, request.session_id).add_messages(messages)
            return pb.AddMessagesResponse(messages=map(wire.to_wire, messages))

    def ClearSession(
        self, request: pb.ClearSessionRequest, context: grpc.ServicerContext
    ) -> pb.ClearSessionResponse:
        with _unavailable_if_it_fails(context):
            self._stock.history(request.user_id, request.session_id).clear()
            return pb.ClearSessionResponse()

    def ListMessages(
        self, request: pb.ListMessagesRequest, context: grpc.ServicerContext
    ) -> pb.ListMessagesResponse:
        with _unavailable_if_it_fails(context):
            messages = self._stock.history(request.user_id, request.session_id).messages
            return wire.page(messages, request)

    def ListSessions(
        self, request: pb.ListSessionsRequest, context: grpc.ServicerContext
    ) -> pb.ListSessionsResponse:
        with _unavailable_if_it_fails(context):
            found = self._stock.sessions(request.user_id)
            return wire.session_page(request.user_id, found, request)


@contextmanager
def _unavailable_if_it_fails(context: grpc.ServicerContext) -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        context.abort(grpc.StatusCode.UNAVAILABLE, type(error).__name__)


def main() -> None:
    """Serves until SIGTERM, then lets running calls end."""
    environment = Environment.read()
    server = grpc.server(ThreadPoolExecutor(THREADS), options=[("grpc.so_reuseport", 0)])
    pb_grpc.add_ConversationServiceServicer_to_server(StockServicer(Stock(environment)), server)
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port(environment.listen)
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(GRACE_SECONDS))
    click.echo(f"stock_threads serving on {environment.address(port)}")
    server.wait_for_termination()


if __name__ == "__main__":
    main()
