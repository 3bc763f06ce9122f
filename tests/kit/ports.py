"""TCP ports that stay free while nobody listens on them."""

import random
import socket

# Below Linux's ephemeral range (32768–60999). From inside it the kernel could lend the port to any
# outgoing connection while the server that owns it is down; a client that keeps dialling a closed
# ephemeral port on loopback can even connect to itself.
FIRST_PORT = 20_000
LAST_PORT = 31_999
ATTEMPTS = 100


def bound_socket() -> socket.socket:
    """A socket bound to a free port of 127.0.0.1, not listening yet. The caller closes it."""
    for _ in range(ATTEMPTS):
        candidate = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", random.randint(FIRST_PORT, LAST_PORT)))
        except OSError:
            candidate.close()
        else:
            return candidate
    raise RuntimeError(f"no free port among {ATTEMPTS} tried in {FIRST_PORT}–{LAST_PORT}")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody is bound to at this moment."""
    with bound_socket() as candidate:
        port: int = candidate.getsockname()[1]
        return port
