"""Importing the client: how much longer it takes than gRPC and the stubs, which it is made of.

    .venv/bin/python -m benchmarks.import_time

Each import runs in a fresh interpreter, the two in turn; what is told is the median of the ratios
of neighbours. Exits with 1 if it is over 1.15.
"""

# ruff: noqa: T201 - a benchmark talks

import compileall
import statistics
import subprocess
import sys
import time
from pathlib import Path

import turnkeep

# The stubs are in the client's package, whose __init__ imports the client: here it is an empty one.
BARE_PACKAGE = """
import sys, types
bare = types.ModuleType("turnkeep")
bare.__path__ = [sys.argv[1]]
sys.modules["turnkeep"] = bare
"""
PARTS = "import grpc, turnkeep.v1.conversation_pb2, turnkeep.v1.conversation_pb2_grpc"
CLIENT = "import turnkeep"
RUNS = 31
HIGHEST_RATIO = 1.15


def main() -> int:
    """Exit code 0 if the ratio is within its bound."""
    package = str(Path(turnkeep.__file__).parent)
    bare = [sys.executable, "-c", BARE_PACKAGE + PARTS, package]
    client = [sys.executable, "-c", CLIENT]
    empty = [sys.executable, "-c", "pass"]
    # As installed: where Python is told to write no bytecode, each run would compile it anew.
    compileall.compile_dir(package, quiet=1)
    for command in (bare, client):
        seconds(command)  # now it is in the disk's cache
    pairs = [(seconds(bare), seconds(client)) for _ in range(RUNS)]
    start = statistics.median(seconds(empty) for _ in range(RUNS))
    parts = statistics.median(each for each, _ in pairs)
    whole = statistics.median(each for _, each in pairs)
    ratio = statistics.median((c - start) / (p - start) for p, c in pairs)
    print(f"an interpreter that does nothing: {start * 1e3:.1f} ms")
    print(f"grpc and the stubs: {(parts - start) * 1e3:.1f} ms more")
    print(f"turnkeep: {(whole - start) * 1e3:.1f} ms more")
    print(f"ratio: {ratio:.3f} (at most {HIGHEST_RATIO})")
    return 0 if ratio <= HIGHEST_RATIO else 1


def seconds(command: list[str]) -> float:
    """How long a command runs."""
    began = time.perf_counter()
    subprocess.run(command, check=True)  # noqa: S603  # our own interpreter
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
