"""Memory of a container, from the files of both versions of control groups."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from penstock_server.memory import usable_bytes

TOTAL = psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"memory.max": "4096"}, 4096),
        ("0::/\n", {"memory.max": "max"}, TOTAL),
        ("0::/pods/one\n", {"pods/one/memory.max": "max", "pods/memory.max": "8192"}, 8192),
        ("0::/pods/one\n", {"pods/one/memory.max": "4096", "pods/memory.max": "8192"}, 4096),
        # The machine's path, where the container's own group is mounted as the root.
        ("0::/host/pods/one\n", {"memory.max": "4096"}, 4096),
        ("5:cpu:/a\n4:memory:/pods/one\n", {"memory/memory.limit_in_bytes": "4096"}, 4096),
        ("4:cpu,memory:/x\n0::/\n", {"memory/x/memory.limit_in_bytes": "9223372036854771712"}, TOTAL),
        ("", {"memory.max": "4096"}, TOTAL),
    ],
)  # fmt: skip
def test_the_lowest_limit_counts(
    tmp_path: Path, own: str, files: dict[str, str], expected: int
) -> None:
    mounted = tmp_path / "cgroup"
    for name, text in files.items():
        (mounted / name).parent.mkdir(parents=True, exist_ok=True)
        (mounted / name).write_text(f"{text}\n")
    (tmp_path / "own").write_text(own)
    assert usable_bytes(mounted, tmp_path / "own") == expected


def test_without_control_groups(tmp_path: Path) -> None:
    assert usable_bytes(tmp_path, tmp_path / "none") == TOTAL
