"""The arguments that select a command's installation."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_place_arguments"]


def add_place_arguments(
    parser: argparse.ArgumentParser, default_data: Path, *, data: str, settings: str
) -> argparse._MutuallyExclusiveGroup:
    """Add the exclusive options `--data` and `--settings` with the help texts `data` and `settings`.
    Returns their group, for further options."""
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--data", type=Path, default=default_data, help=f"{data} (%(default)s)")
    place.add_argument("--settings", action="store_true", help=settings)
    return place
