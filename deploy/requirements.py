"""Prints what the package itself needs, and the given extras of pyproject.toml, one requirement per line.

For installations that leave something out: pip itself has no way to say that a requirement of a
requirement is not needed.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extras", nargs="*")
    parser.add_argument("--without", action="append", default=[], help="leave out this one")
    arguments = parser.parse_args()
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    needed = list(project["dependencies"])
    for extra in arguments.extras:
        needed += project["optional-dependencies"][extra]
    chosen = [each for each in needed if not each.startswith(tuple(arguments.without))]
    sys.stdout.write("\n".join(chosen) + "\n")


if __name__ == "__main__":
    main()
