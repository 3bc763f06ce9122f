"""Makes the synchronous client out of the asynchronous one; --check fails if it is not that.

python scripts/sync_client.py [--check] client/turnkeep
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import unasync

MODULES = ("calls.py", "client.py", "reply_stream.py", "session.py")
# Beside what unasync replaces anyway: async, await, __aenter__, AsyncIterator …
REPLACED = {"aiter": "iter", "anext": "next"}
NOTICE = "# Made by `make sync-client` out of ../{name}: change that, not this.\n"


def make(package: Path, folder: Path) -> None:
    """Writes the twin of every module into `folder`."""
    rule = unasync.Rule(f"{package}/", f"{folder}/", additional_replacements=REPLACED)
    unasync.unasync_files([str(package / name) for name in MODULES], [rule])
    for name in MODULES:
        made = folder / name
        text = made.read_text().replace("`async with`", "`with`")
        made.write_text(NOTICE.format(name=name) + text)
    files = [str(folder / name) for name in MODULES]
    ruff = [str(Path(sys.executable).with_name("ruff"))]
    settings = ["--quiet", "--config", "pyproject.toml"]
    subprocess.run([*ruff, "check", *settings, "--fix-only", "--select", "I", *files], check=True)  # noqa: S603  # ruff of this very environment
    subprocess.run([*ruff, "format", *settings, *files], check=True)  # noqa: S603  # ruff of this very environment


def main(arguments: list[str]) -> int:
    """Exit code 1 if what is there is not what would be made."""
    package = Path(arguments[-1])
    if "--check" not in arguments:
        make(package, package / "sync")
        return 0
    with tempfile.TemporaryDirectory() as fresh:
        make(package, Path(fresh))
        stale = [
            name
            for name in MODULES
            if (package / "sync" / name).read_bytes() != Path(fresh, name).read_bytes()
        ]
    for name in stale:
        print(  # noqa: T201 - a script talks
            f"error: {package}/sync/{name} is not made from {package}/{name} as it is now: "
            "run 'make sync-client' and commit",
            file=sys.stderr,
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
