"""The suite's report, JSON and Markdown. Of the machine it names the size alone."""

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.torture.comparison import compared
from tests.faults.torture.outcome import Figure, Outcome
from tests.faults.torture.sections import SECTIONS, section


def written(
    outcomes: Sequence[Outcome],
    folder: Path,
    *,
    full: bool,
    seed: int,
    service: str,
    jobs: int = 1,
    only: Sequence[str] = (),
    again: Sequence[str] = (),
) -> None:
    """Writes torture-<service>.json and .md into `folder`, over what was there.

    And torture.md, which compares all services whose JSON is there. `only`: the sections that were
    asked for, if not all. `again`: those
    that have run again for themselves, beside what the report `kept`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = "full" if full else "quick"
    about = {
        "service": service,
        "size": size,
        "seed": seed,
        "command": _command(size, seed, service, jobs, only),
        "again": sorted({*again, *_run_again(folder, service)} if again else ()),
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
    }
    total = totals(outcomes)
    data = {**about, "totals": _plain(total), "sections": [_plain(each) for each in outcomes]}
    text = json.dumps(data, indent=1, ensure_ascii=False)
    Path(folder, f"torture-{service}.json").write_text(text + "\n")
    title = f"# Torture of {service}, {size} size"
    lines = [title, "", _about(about), "", *_sections(outcomes), "", *_table(outcomes, total)]
    Path(folder, f"torture-{service}.md").write_text("\n".join(lines) + "\n")
    compared(folder)


def kept(folder: Path, *, full: bool, service: str, again: Sequence[str]) -> list[Outcome]:
    """The sections of the report in `folder` but for those that run again; none without one.

    Raises ValueError if the report is of another size.
    """
    path = Path(folder, f"torture-{service}.json")
    if not path.exists():
        return []
    data = json.loads(path.read_text())
    if data["size"] != ("full" if full else "quick"):
        raise ValueError(f"{path.name} is of a {data['size']} run: sections of another do not add")
    return [_outcome_of(each) for each in data["sections"] if each["section"] not in again]


def totals(outcomes: Sequence[Outcome]) -> Outcome:
    """All sections added up; figures stay with their sections."""
    total = Outcome("total")
    for each in outcomes:
        total.seconds += each.seconds
        total.calls += each.calls
        total.failed_calls += each.failed_calls
        total.faults += each.faults
        total.statuses += each.statuses
        total.violations += each.violations
    return total


def _run_again(folder: Path, service: str) -> list[str]:
    path = Path(folder, f"torture-{service}.json")
    return json.loads(path.read_text()).get("again", []) if path.exists() else []


def _outcome_of(data: Mapping[str, Any]) -> Outcome:
    counters = {name: Counter(data[name]) for name in ("faults", "statuses", "violations")}
    figures = {name: Figure(**each) for name, each in data["figures"].items()}
    return Outcome(**{**data, **counters, "figures": figures})


def _plain(outcome: Outcome) -> dict[str, object]:
    # asdict would make a Counter of pairs out of a Counter.
    fields: dict[str, object] = {
        each.name: getattr(outcome, each.name) for each in dataclasses.fields(outcome)
    }
    figures = {name: dataclasses.asdict(each) for name, each in outcome.figures.items()}
    return fields | {"figures": figures}


def _about(about: Mapping[str, Any]) -> str:
    again = (
        f" Run again by itself afterwards: {', '.join(about['again'])}." if about["again"] else ""
    )
    return (
        f"{about['date']}, {about['cores']} cores, {about['memory_gib']} GiB of memory, "
        f"seed {about['seed']}. Made by `{about['command']}`.{again}"
    )


def _command(size: str, seed: int, service: str, jobs: int, only: Sequence[str]) -> str:
    words = [f"--{size}", f"--seed {seed}", f"--service {service}", f"--jobs {jobs}"]
    words += [f"--only {each}" for each in only]
    return " ".join(["python -m tests.faults.torture", *words, "--report docs/evidence"])


def _sections(outcomes: Sequence[Outcome]) -> list[str]:
    """What each section does, in its own words."""
    names = [each.section for each in outcomes if each.section in SECTIONS]
    return [
        f"- **{name}**: {(section(name).__doc__ or '').partition(chr(10))[0]}" for name in names
    ]


def _table(outcomes: Sequence[Outcome], total: Outcome) -> list[str]:
    lines = ["| section | seconds | calls | faults | broken promises |", "|---|---|---|---|---|"]
    for each in [*outcomes, total]:
        broken = "; ".join(each.problems) or each.skipped or "none"
        lines.append(
            f"| {each.section} | {each.seconds:.0f} | {each.calls} | {_listed(each.faults)} "
            f"| {broken} |"
        )
    lines += ["", "| figure | measured | bound |", "|---|---|---|"]
    for each in outcomes:
        for name, figure in each.figures.items():
            sides = (("at most", figure.at_most), ("at least", figure.at_least))
            bounds = [f"{side} {_number(bound)}" for side, bound in sides if bound is not None]
            value = f"{_number(figure.value)} {figure.unit}"
            lines.append(f"| {each.section}: {name} | {value} | {', '.join(bounds)} |")
    lines += ["", f"Status of every attempt: {_listed(total.statuses)}."]
    return lines


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.4g}"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common()) or "none"


def _memory_gib() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
