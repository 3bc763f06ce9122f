"""What is installed is what was pinned, and what the linter was told to overlook says why."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_PINNED = re.compile(r"^[a-z0-9][a-z0-9._\[\]-]*==\S+", re.IGNORECASE)
_SECURITY = re.compile(r"# noqa: [A-Z0-9, ]*\bS\d+")
_ARGUED = re.compile(r"# noqa: [A-Z0-9, ]*\bS\d+[A-Z0-9, ]*?(  #| -) \S")


@pytest.mark.parametrize("file", sorted(ROOT.glob("requirements*.txt")), ids=lambda each: each.name)
def test_every_requirement_is_pinned_to_a_version_and_hashes(file: Path) -> None:
    entries = [*_entries(file)]
    assert entries
    for entry in entries:
        assert _PINNED.match(entry), entry
        assert "--hash=sha256:" in entry, entry
        assert "://" not in entry, entry


def test_every_package_of_the_node_example_is_pinned_to_a_hash() -> None:
    lock = json.loads((ROOT / "examples/node/package-lock.json").read_text())
    packages = {name: each for name, each in lock["packages"].items() if name}
    assert packages
    for name, each in packages.items():
        assert each["integrity"].startswith("sha512-"), name


def test_every_module_of_the_go_example_is_pinned_to_a_hash() -> None:
    folder = ROOT / "examples/go"
    sums = (folder / "go.sum").read_text()
    required = re.findall(r"^\s+(\S+ v\S+)", (folder / "go.mod").read_text(), re.MULTILINE)
    assert required
    for each in required:
        assert re.search(rf"^{re.escape(each)} h1:", sums, re.MULTILINE), each


@pytest.mark.parametrize(
    "folder", ["benchmarks", "client", "examples", "scripts", "server", "tests"]
)
def test_every_rule_of_security_that_is_overlooked_says_why(folder: str) -> None:
    for file in (ROOT / folder).rglob("*.py"):
        if "node_modules" in file.parts:
            continue
        for line in file.read_text().splitlines():
            if _SECURITY.search(line):
                assert _ARGUED.search(line), f"{file}: {line.strip()}"


def _entries(file: Path) -> Iterator[str]:
    """Each requirement with its continuation lines, comments left out."""
    lines = [each for each in file.read_text().splitlines() if not each.lstrip().startswith("#")]
    for entry in "\n".join(lines).replace("\\\n", " ").splitlines():
        if entry.strip():
            yield entry.strip()
