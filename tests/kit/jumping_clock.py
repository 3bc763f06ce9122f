"""A wall clock that jumps, for a child process alone: the machine's is left as it is.

    clock = JumpingClock(folder)
    async with Mongod(data, env={**os.environ, **clock.env}) as mongod:
        clock.jump(3_600)

Linux, and a C compiler: `why_not()` says what is missing.
"""

import mmap
import shutil
import struct
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("jumping_clock.c")
_NANOSECONDS = struct.Struct("=q")


def why_not() -> str:
    """Why there can be no such clock here; "" where there can."""
    if sys.platform != "linux":
        return "clocks are made to jump on Linux alone"
    return "" if shutil.which("cc") else "no C compiler (cc), which the jumping clock is built with"


class JumpingClock:
    """An offset to the wall clock of every process that is started with `env`."""

    def __init__(self, folder: Path) -> None:
        """Compiles it into `folder`. CalledProcessError when that fails."""
        library, file = folder / "jumping_clock.so", folder / "jumping_clock.offset"
        flags = ["-shared", "-fPIC", "-O2", "-Wall", "-Werror"]
        argv = ["cc", *flags, "-o", str(library), str(SOURCE), "-ldl", "-lpthread"]
        subprocess.run(argv, check=True)
        file.write_bytes(_NANOSECONDS.pack(0))
        with file.open("r+b") as opened:
            self._offset = mmap.mmap(opened.fileno(), _NANOSECONDS.size)
        self.env = {"LD_PRELOAD": str(library), "JUMPING_CLOCK_FILE": str(file)}
        """What a process's environment needs, beside what it has."""

    def jump(self, seconds: float) -> None:
        """Moves the clock from where it is, at once; backwards if negative."""
        (before,) = _NANOSECONDS.unpack(self._offset[:])
        self._offset[:] = _NANOSECONDS.pack(before + int(seconds * 1e9))
