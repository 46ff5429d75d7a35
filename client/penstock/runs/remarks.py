"""A spool's problems in words, for the training script's terminal and `penstock status`."""

# What only problems need is imported inside functions, to keep `penstock.init` cheap.
# ruff: noqa: PLC0415

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from penstock.runs.launch import is_shipper_running
from penstock.runs.places import sync_command
from penstock.spool.progress import Progress

__all__ = ["kept_back", "left_text", "remarks"]

_KEY_PROBLEMS = ("no_key", "unauthorized")


def remarks(progress: Progress, folder: Path) -> Iterator[tuple[str, str]]:
    """A short name and a sentence for everything that was refused, damaged or lost."""
    rejected = folder / "rejected"
    if progress.rejected:
        what = _counted(progress.rejected, "batch", "batches")
        yield "rejected", f"the server refused {what}{_why(progress)}; kept in {rejected}"
    if progress.dead:
        what = _counted(len(progress.dead), "batch", "batches")
        yield (
            "dead",
            f"the server could not process {what}; kept in {rejected}, "
            "replay on the server with: penstock dead replay",
        )
    if progress.damaged_bytes or progress.missing_segments:
        from penstock.runs.backlog import size_text

        missing = _counted(progress.missing_segments, "segment", "segments")
        yield (
            "damaged",
            f"damaged on this disk: {size_text(progress.damaged_bytes)}, {missing} missing; "
            f"the rest of {folder} is sent",
        )
    if progress.damaged_cuts:
        lines = _counted(progress.damaged_cuts, "line", "lines")
        yield "cuts", f"{lines} of {folder / 'cuts'} damaged and rebuilt; no rows were lost"
    if progress.lost_batches:
        what = _counted(progress.lost_batches, "batch", "batches")
        yield (
            "lost",
            f"the server's store lacks {what} with {progress.lost_points} points "
            "that are no longer kept on this machine",
        )


def _why(progress: Progress) -> str:
    return f": {progress.refusal}" if progress.refusal else ""


def kept_back(folder: Path, progress: Progress) -> str:
    """What is missing from an otherwise stored run, and what to do; empty if nothing is."""
    parts = []
    if progress.rejected:
        parts.append(f"{_counted(progress.rejected, 'batch', 'batches')} that the server refused")
    if progress.dead:
        what = _counted(len(progress.dead), "batch", "batches")
        parts.append(f"{what} that the server could not process")
    if not parts:
        return ""
    why = f" ({progress.refusal})" if progress.refusal else ""
    return (
        f"everything is stored except {' and '.join(parts)}{why}; kept in {folder / 'rejected'}; once "
        f"the cause is fixed: {sync_command(folder.parent)} --rejected"
    )


def left_text(folder: Path, progress: Progress) -> str:
    """How much of a finished run is not stored yet, why, and how it will be sent."""
    from penstock.runs.backlog import backlog

    try:
        left = str(backlog(folder, progress))
    except OSError as error:
        left = f"an unknown amount ({error.strerror or error})"
    reason = progress.problem or "the server has not stored everything yet"
    command = sync_command(folder.parent)
    try:
        is_sending = is_shipper_running(folder.parent)
    except OSError:
        is_sending = False
    if progress.problem_code in _KEY_PROBLEMS:
        how = "is sent once there is a key: penstock login"
    elif progress.problem_code == "bad_url":
        how = f"can be sent once the address is correct, with: {command}"
    elif is_sending:
        how = f"is sent in the background, or with: {command}"
    else:
        how = f"is sent by the next run on this machine, or with: {command}"
    return f"{reason}; {left} not stored yet; it is kept in {folder} and {how}"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
