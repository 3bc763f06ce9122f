"""Fails unless an SBOM lists what is pinned: sbom_matches.py build/sbom.cdx.json requirements.txt.

What is pinned for other systems is not installed here, and so may be missing.
"""

import json
import re
import sys
from pathlib import Path


def main(sbom: Path, requirements: Path) -> int:
    components = json.loads(sbom.read_text())["components"]
    listed = {(_plain(each["name"]), each["version"]) for each in components}
    pinned = re.findall(r"^([\w.-]+)==([^\s;]+)( ;)?", requirements.read_text(), re.MULTILINE)
    everywhere = {(_plain(name), version) for name, version, marker in pinned if not marker}
    known = {(_plain(name), version) for name, version, _ in pinned}
    wrong = [f"missing: {each}" for each in everywhere - listed]
    wrong += [f"not pinned: {each}" for each in listed - known]
    print("\n".join(wrong) or f"{sbom}: {len(listed)} components, all of them pinned")  # noqa: T201
    return bool(wrong)


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
