"""Makes docs/licences.md: what the server brings along, and under which licences.

licences.py PIP_LICENSES PYTHON [--check docs/licences.md]

PYTHON is that of an environment which holds requirements.txt and nothing else. Exits 1 if a
licence is none that we may pass on without a second thought, or if the page to check is another.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Permissive ones, and the MPL 2.0, which asks for nothing where files are passed on as they are.
ALLOWED = re.compile(
    r"(MIT|(3-Clause )?BSD|0BSD|Apache|ISC|PSF|Python Software Foundation|CNRI-Python|MPL-2\.0"
    r"|Mozilla Public License 2\.0|Unlicense|Zlib)\b",
    re.IGNORECASE,
)
HEAD = """# Licences

What the server brings along (requirements.txt, as it is installed on Linux), and so what is in the
image, with the text of each licence beside the package. Made by `make licences`, which refuses a
licence that is not permissive or the MPL 2.0. Turnkeep itself is under the MIT licence; the base
image and its Debian packages have theirs in /usr/share/doc. MongoDB (SSPL) is in no image: the
extra `embedded` is for development.

| package | version | licence |
|---|---|---|
"""

Package = Mapping[str, str]


def installed(pip_licenses: str, python: str) -> Sequence[Package]:
    """What pip-licenses reads from each package's own metadata."""
    command = [pip_licenses, f"--python={python}", "--from=mixed", "--format=json", "--order=name"]
    made = subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # from the Makefile
    packages: Sequence[dict[str, str]] = json.loads(made.stdout)
    # Some put the whole text where the name belongs.
    return [{**each, "License": each["License"].splitlines()[0]} for each in packages]


def is_allowed(licence: str) -> bool:
    """Whether every licence that an expression names is one of ours, those to choose from too."""
    names = re.split(r" AND | OR |; ", licence)
    return all(ALLOWED.match(each.strip(" ()")) for each in names)


def page(packages: Sequence[Package]) -> str:
    """docs/licences.md."""
    rows = (f"| {each['Name']} | {each['Version']} | {each['License']} |" for each in packages)
    return HEAD + "\n".join(rows) + "\n"


def main() -> int:
    pip_licenses, python, *check = sys.argv[1:]
    packages = installed(pip_licenses, python)
    refused = [each for each in packages if not is_allowed(each["License"])]
    for each in refused:
        print(f"error: {each['Name']} is under {each['License']}", file=sys.stderr)  # noqa: T201
    made = page(packages)
    if not check:
        sys.stdout.write(made)
    elif Path(check[1]).read_text() != made:
        print(f"error: {check[1]} is another: run `make licences` and commit", file=sys.stderr)  # noqa: T201
        return 1
    return bool(refused)


if __name__ == "__main__":
    sys.exit(main())
