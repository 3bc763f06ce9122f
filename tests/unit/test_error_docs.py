"""docs/errors.md lists the reasons that callers may meet, each under its status, and no others."""

import re
from pathlib import Path

from turnkeep_server.interceptors.errors import STATUS

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
# The status of what is no domain error.
BUG = ("INTERNAL", "INTERNAL")
ROW = re.compile(r"^\| `([A-Z_]+)` \| [^|]+ \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)


def documented() -> list[tuple[str, str, str]]:
    """Status, reason and whether to send again, of every row."""
    found = []
    for section in PAGE.read_text().split("\n## ")[1:]:
        status = section.partition(":")[0]
        found += [(status, *row) for row in ROW.findall(section)]
    return found


def test_every_reason_is_documented_once_under_its_status() -> None:
    raised = {(code.name, kind.reason) for kind, code in STATUS.items()} | {BUG}
    assert sorted((status, reason) for status, reason, _ in documented()) == sorted(raised)


def test_unavailable_is_always_safe_to_send_again() -> None:
    """Clients rely on it: it is the one status that their retry policies name."""
    again = {again for status, _, again in documented() if status == "UNAVAILABLE"}
    assert again == {"yes"}


def test_every_row_of_a_table_is_one_that_is_checked() -> None:
    """A row that the pattern does not understand would otherwise pass unseen."""
    rows = [each for each in PAGE.read_text().splitlines() if each.startswith("| `")]
    assert len(rows) == len(documented())
