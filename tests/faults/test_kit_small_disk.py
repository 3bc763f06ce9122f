"""The kit's small disk: full when it is filled, and gone afterwards."""

import asyncio
import errno
import os
import sys
from pathlib import Path

import pytest

from tests.kit.child import Child
from tests.kit.small_disk import NoSmallDisk, small_disk

HOLDING = """
import sys, time
from pathlib import Path
from tests.kit.small_disk import small_disk
with small_disk(Path(sys.argv[1]), megabytes=1):
    print("mounted", flush=True)
    time.sleep(60)
"""


def test_a_small_disk_is_filled_and_emptied_and_unmounted(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    try:
        with small_disk(folder, megabytes=4) as disk:
            disk.fill(leave_bytes=100_000)
            assert disk.free_bytes <= 100_000
            disk.fill()
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                Path(folder, "text").write_text("Привет 👋")
            disk.empty()
            Path(folder, "text").write_text("Привет 👋")
    except NoSmallDisk as why:
        pytest.skip(str(why))
    assert not folder.is_mount()
    assert list(folder.iterdir()) == []


async def test_it_is_unmounted_when_its_process_is_killed(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    folder, out = tmp_path / "disk", tmp_path / "out"
    argv = [sys.executable, "-c", HOLDING, str(folder)]
    child = Child(argv, env={**os.environ, "PYTHONPATH": os.getcwd()}, stdout=out, stderr=out)
    async with asyncio.timeout(20):
        while child.exit_code is None and "mounted" not in out.read_text():
            await asyncio.sleep(0.05)
        if "NoSmallDisk" in out.read_text():
            pytest.skip(out.read_text())
        assert folder.is_mount()
        child.kill()
        while folder.is_mount():
            await asyncio.sleep(0.05)
