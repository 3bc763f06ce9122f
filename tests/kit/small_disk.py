"""A small file system of its own, which a test fills: a tmpfs, so it takes root on Linux."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CHUNK = b"\0" * 65_536


class NoSmallDisk(Exception):
    """None can be mounted here; its text says why. Expected without root."""


class SmallDisk:
    """A mounted file system, and the ballast that fills it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    @property
    def free_bytes(self) -> int:
        """What a process may still write."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self, leave_bytes: int = 0) -> None:
        """Writes ballast until no more than this is free."""
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as ballast:
            while self.free_bytes > leave_bytes:
                ballast.write(_CHUNK[: max(1, self.free_bytes - leave_bytes)])

    def empty(self) -> None:
        """Takes the ballast off."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mounts it on `folder`, which is made; unmounted when the block ends, or this process does.

    What uses it must have ended by then. Raises NoSmallDisk.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NoSmallDisk("a small disk is a tmpfs, and mounting one takes root on Linux")
    folder.mkdir(parents=True, exist_ok=True)
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700"]
    mounted = subprocess.run(
        ["mount", *options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        raise NoSmallDisk(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    # The pipe ends with this process, even by kill -9. Lazily: a file that a dying process still
    # holds must not leave the disk mounted.
    unmounts = ["sh", "-c", 'read -r _; umount --lazy "$1"', "sh", str(folder)]
    with subprocess.Popen(unmounts, stdin=subprocess.PIPE, start_new_session=True) as waiting:
        yield SmallDisk(folder)
    if waiting.returncode:
        raise RuntimeError(f"{folder} is still mounted")
