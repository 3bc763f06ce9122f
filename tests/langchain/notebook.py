"""Runs the cells of a notebook, as Jupyter does: the value of a cell's last expression is shown."""

import ast
import contextlib
import io
from typing import Any


class Notebook:
    """Cells share their names. Blocking: run it in a thread where an event loop must go on."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}

    def run(self, cell: str) -> str:
        """What the cell printed, and its last value."""
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            for statement in ast.parse(cell).body:
                one = ast.Interactive([statement])
                exec(compile(one, "<cell>", "single"), self.names)  # noqa: S102 - its own cells
        return output.getvalue()
