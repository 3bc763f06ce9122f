"""What is installed is what was pinned, and what the linter was told to overlook says why."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.licences import is_allowed

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


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        *[(each, True) for each in ("MIT", "BSD License", "MPL-2.0 AND (ISC OR MIT)")],
        *[
            (each, False)
            for each in ("GPL-3.0", "MIT AND GPL-3.0", "LGPL-3.0", "UNKNOWN", "A AND (B OR MIT)")
        ],
    ],
)
def test_a_licence_may_be_passed_on_or_not(licence: str, allowed: bool) -> None:
    assert is_allowed(licence) is allowed


@pytest.mark.parametrize(
    ("said", "code", "exits", "told"),
    [
        ("No known vulnerabilities found", 0, 0, "No known vulnerabilities found"),
        (
            "requests.exceptions.ConnectionError: Max retries exceeded",
            1,
            0,
            "!! SKIPPED: pip-audit",
        ),
        ("Found 1 known vulnerability in 1 package", 1, 1, "has known vulnerabilities"),
        ("error: unrecognized arguments", 2, 1, "could not be read"),
    ],
)
def test_the_audit_fails_on_a_finding_and_says_loudly_that_nobody_could_be_asked(
    tmp_path: Path, said: str, code: int, exits: int, told: str
) -> None:
    pip_audit = tmp_path / "pip-audit"
    pip_audit.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit {code}\n")
    pip_audit.chmod(0o755)
    ended = subprocess.run(
        [ROOT / "scripts/audit", pip_audit, "requirements.txt"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == exits, ended.stderr
    assert told in ended.stdout + ended.stderr


def _entries(file: Path) -> Iterator[str]:
    """Each requirement with its continuation lines, comments left out."""
    lines = [each for each in file.read_text().splitlines() if not each.lstrip().startswith("#")]
    for entry in "\n".join(lines).replace("\\\n", " ").splitlines():
        if entry.strip():
            yield entry.strip()
