"""The kit's small disk: full when it is filled, and gone afterwards."""

import errno
import os
from pathlib import Path

import pytest

from tests.kit.small_disk import NoSmallDisk, small_disk


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
