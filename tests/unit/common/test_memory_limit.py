"""The memory that a process may use, by its control groups."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from penstock_common.process.memory_limit import usable_memory_bytes

WHOLE = psutil.virtual_memory().total
LIMIT = 256 * 2**20


def groups(root: Path, files: dict[str, str], own: str) -> int:
    for name, text in files.items():
        path = root / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    (root / "own").write_text(own)
    return usable_memory_bytes(root / "cgroup", root / "own")


@pytest.mark.parametrize(
    ("files", "own", "expected"),
    [
        ({"memory.max": str(LIMIT)}, "0::/\n", LIMIT),
        ({"memory.max": "max"}, "0::/\n", WHOLE),
        ({"memory.max": str(LIMIT)}, "0::/kubepods/not-mounted\n", LIMIT),
        ({"a/memory.max": str(LIMIT), "a/b/memory.max": "max"}, "0::/a/b\n", LIMIT),
        ({"a/memory.max": str(LIMIT)}, "0::/other\n", WHOLE),
        ({"memory/pod/memory.limit_in_bytes": str(LIMIT)}, "4:memory:/pod\n0::/\n", LIMIT),
        ({"memory/memory.limit_in_bytes": str(2**63 - 4096)}, "4:memory:/\n", WHOLE),
        ({}, "", WHOLE),
    ],
)
def test_the_lowest_limit_counts(
    tmp_path: Path, files: dict[str, str], own: str, expected: int
) -> None:
    assert groups(tmp_path, files, own) == expected


def test_this_process_has_some() -> None:
    assert 0 < usable_memory_bytes() <= WHOLE
