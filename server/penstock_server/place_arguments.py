"""The arguments by which a command is told which installation it works on."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_place_arguments"]


def add_place_arguments(
    parser: argparse.ArgumentParser, default_data: Path, *, data: str, settings: str
) -> argparse._MutuallyExclusiveGroup:
    """Add `--data` and `--settings`, of which one counts; `data` and `settings` say what they are.
    Returns their group, for further places."""
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--data", type=Path, default=default_data, help=f"{data} (%(default)s)")
    place.add_argument("--settings", action="store_true", help=settings)
    return place
