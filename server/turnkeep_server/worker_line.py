"""The line between the supervisor and one worker: a socket, orders one way, a report the other.

Orders come this way and not as signals, because whoever stops a service may signal all of its
processes at once, and a second signal would mean haste. And a line ends by itself: a worker whose
supervisor is gone, kill -9 included, reads its end, and drains.
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

_READ_BYTES = 4096


class Order(Enum):
    """What a supervisor says: one byte each."""

    DRAIN = b"d"
    HURRY = b"h"
    RELOAD = b"r"
    FIGURES = b"f"


class Line:
    """The worker's end."""

    def __init__(self, descriptor: int) -> None:
        # Inherited, but not to be handed on: what a chain starts would keep the line open.
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._sending = asyncio.Lock()

    def follow(self, obey: Callable[[Order], None]) -> None:
        """Has each order obeyed on the running loop, those that came before this too."""
        asyncio.get_running_loop().add_reader(self._socket, self._read, obey)

    def serving(self) -> None:
        """Reports that calls are served now."""
        self._report({})

    def failed(self, problem: str) -> None:
        """Reports why this worker cannot start, in words for the operator."""
        self._report({"problem": problem})

    def _report(self, report: dict[str, str]) -> None:
        # A supervisor that is gone needs no report.
        with suppress(OSError):
            self._socket.sendall(json.dumps(report).encode() + b"\n")

    async def figures(self, figures: object) -> None:
        """Reports the worker's figures, which may be more than the socket takes at once."""
        data = json.dumps({"figures": figures}).encode() + b"\n"
        with suppress(OSError):
            # One after the other: parts of two must not mix.
            async with self._sending:
                await asyncio.get_running_loop().sock_sendall(self._socket, data)

    def _read(self, obey: Callable[[Order], None]) -> None:
        try:
            orders = self._socket.recv(_READ_BYTES)
        except OSError:
            orders = b""
        for each in orders:
            obey(Order(bytes([each])))
        if not orders:
            asyncio.get_running_loop().remove_reader(self._socket)
            obey(Order.DRAIN)
