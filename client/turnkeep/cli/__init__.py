"""The terminal client: the command `turnkeep`, of the extra `turnkeep-client[cli]`.

Exit codes: 0 done; 1 the call failed, and would fail again; 2 it was asked for in a wrong way;
3 nobody could answer in time, and the same may succeed later; 130 ended by ctrl-C; 141 whoever read
the output stopped reading.

Commands use the blocking client, which is the plainer one. `chat` uses the asynchronous one: there
ctrl-C has to reach a turn in the moment it is pressed, and the line editor runs on asyncio too.
"""

import importlib.util
import os
import sys

REQUIRED = ("click", "grpc_health", "prompt_toolkit", "rich")
_FAILED = 1


def main() -> None:
    """Runs the command that the arguments name, and exits."""
    missing = [each for each in REQUIRED if importlib.util.find_spec(each) is None]
    if missing:
        sys.stderr.write(
            f"turnkeep: the terminal client also needs {', '.join(missing)}; install its extra: "
            'pip install "turnkeep-client[cli]"\n'
        )
        sys.exit(_FAILED)
    # Read when gRPC is imported: what is wrong the command says itself.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from turnkeep.cli.group import turnkeep

    turnkeep.main(prog_name="turnkeep")
