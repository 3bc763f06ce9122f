"""One page about all services that were tortured: what each of them broke, side by side."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Run = Mapping[str, Any]
"""What `report.written` keeps of one service as JSON."""

_FIRST = "turnkeep"
_INTRO = """# Torture: what was done to each service, and which promises it broke

The same faults, callers and checker; the services answer the same RPCs over the same MongoDB.
`stock-aio` and `stock-threads` are `RunnableWithMessageHistory` over langchain-mongodb's history
(`benchmarks/peers`), which promise none of this. A count is of turns, reads or model calls that
show the break; "not run" is a section that looks at what Turnkeep alone has. What each run was, and
its figures: the page named in the first row.
"""


def compared(folder: Path) -> None:
    """Writes torture.md into `folder` when it holds torture-*.json of two services or more."""
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob("torture-*.json"))]
    runs.sort(key=lambda run: run["service"] != _FIRST)
    if len(runs) > 1:
        Path(folder, "torture.md").write_text(page(runs))


def page(runs: Sequence[Run]) -> str:
    """The page, as Markdown."""
    lines = [_INTRO, *_row("", [run["service"] for run in runs]), "|---" * (len(runs) + 1) + "|"]
    pages = [f"[{run['service']}](torture-{run['service']}.md)" for run in runs]
    lines += _row("page", pages)
    lines += _row("size, seed", [f"{run['size']}, {run['seed']}" for run in runs])
    lines += _row("calls", [run["totals"]["calls"] for run in runs])
    lines += _row("calls that never succeeded", [run["totals"]["failed_calls"] for run in runs])
    for kind in _kinds(runs, "faults"):
        lines += _row(kind, [run["totals"]["faults"].get(kind, 0) for run in runs])
    lines += _row("**broken promises**", [_total(run["totals"]["violations"]) for run in runs])
    for kind in _kinds(runs, "violations"):
        lines += _row(kind, [run["totals"]["violations"].get(kind, 0) for run in runs])
    lines += ["", "## By section", ""]
    lines += _row("broken promises, of calls", [run["service"] for run in runs])
    lines.append("|---" * (len(runs) + 1) + "|")
    for name in dict.fromkeys(each["section"] for run in runs for each in run["sections"]):
        lines += _row(name, [_in_section(run, name) for run in runs])
    return "\n".join(lines) + "\n"


def _in_section(run: Run, name: str) -> str:
    found = next((each for each in run["sections"] if each["section"] == name), None)
    if found is None or found["skipped"]:
        return "not run"
    return f"{_total(found['violations'])} of {found['calls']}"


def _kinds(runs: Sequence[Run], name: str) -> list[str]:
    return sorted({kind for run in runs for kind in run["totals"][name]})


def _total(counts: Mapping[str, int]) -> int:
    return sum(counts.values())


def _row(first: str, cells: Sequence[object]) -> list[str]:
    return [f"| {first} | " + " | ".join(map(str, cells)) + " |"]
