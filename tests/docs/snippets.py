"""The code in the documentation, as it stands there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets(page: str, language: str) -> Iterator[tuple[int, str]]:
    """Each block of code in that language on a page of the repository: its line, and itself."""
    text = (ROOT / page).read_text()
    for block in _BLOCK.finditer(text):
        if block[1] == language:
            yield text.count("\n", 0, block.start()) + 2, block[2]


async def run(page: str, line: int, code: str, names: dict[str, Any]) -> None:
    """Runs one block, which may await, with `names`, and leaves there what it defines."""
    # Line numbers as on the page, so that a failure shows where it is.
    shifted = "\n" * (line - 1) + code
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    awaitable = eval(compile(shifted, ROOT / page, "exec", flags), names)  # noqa: S307  # ours
    if awaitable is not None:
        await awaitable
