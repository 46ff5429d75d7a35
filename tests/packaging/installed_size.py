"""What `make up` installs must stay small: run after `make install`, before anything for development.

python tests/packaging/installed_size.py 850
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_INSTALLED = (".venv", "build", "web/ui/node_modules", "web/penstock_web/static")
_DEVELOPMENT = ROOT / ".venv" / ".dev"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("limit_mb", type=float)
    limit_mb: float = parser.parse_args().limit_mb
    if _DEVELOPMENT.exists():
        print("not measured: the environment has what development needs too")
        return 0
    sizes = {name: _megabytes(ROOT / name) for name in _INSTALLED}
    total = sum(sizes.values())
    parts = ", ".join(f"{name} {size:.0f}" for name, size in sizes.items())
    print(f"make install: {total:.0f} MB of files, at most {limit_mb:.0f} ({parts})")
    return int(total > limit_mb)


def _megabytes(folder: Path) -> float:
    """Of all files, whatever the file system allocates; a file with several links counts once."""
    sizes: dict[tuple[int, int], int] = {}
    for parent, _, files in os.walk(folder):
        for name in files:
            found = Path(parent, name).lstat()
            sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values()) / 1e6


if __name__ == "__main__":
    sys.exit(main())
