"""What the tours are run with: made by `make interop`, or not to be had on this machine."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NODE_MODULES = EXAMPLES / "node" / "node_modules" / ".package-lock.json"
GO_TOUR = ROOT / "build" / "interop" / "turnkeep-go"
GRPCURL = ROOT / "build" / "interop" / "grpcurl"


def require(tool: str, made: Path) -> None:
    """Skips where the machine has not got `tool`, which makes `made`; so does a failure to make it.

    But not in CI: there a tool that is on the machine must work.
    """
    what = made.relative_to(ROOT)
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} on this machine, which makes {what}")
    if not made.exists():
        outcome = pytest.fail if os.environ.get("CI") else pytest.skip
        outcome(f"{tool} is on this machine but did not make {what}: see above what it says")
