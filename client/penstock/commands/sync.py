"""`penstock sync`: sends the data on this machine and waits until the server has stored it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from penstock.pasted import repaired_url
from penstock.runs.launch import ensure_shipper, is_shipper_running, last_words
from penstock.runs.places import other_places
from penstock.settings import Settings
from penstock.shipper.rejects import Rejects
from penstock.spool.meta import Meta, load_meta, store_meta
from penstock.spool.progress import Progress, load_progress
from penstock.spool.root import open_root, roots_at, spools_in

__all__ = ["run_sync"]

_POLL_S = 0.1
_GRACE_S = 10.0  # a running shipper retries within this time


def run_sync(
    folder: Path | None,
    *,
    timeout_s: float,
    rejected: bool,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> int:
    """Returns the exit status; `warn` receives problems, `say` everything else. Raises PenstockError
    if the folder cannot be used.

    `folder`: that of one host, or one with the folders of several."""
    settings = Settings.resolve(None, {})
    host = settings.host_name
    roots = roots_at(folder, host) if folder else [open_root(settings.root, host)]
    unreadable: list[Path] = []
    for each in _spools(roots):
        try:
            _prepare(each, load_meta(each), settings)
        except (OSError, ValueError) as error:
            warn(f"{each}: cannot read which run this belongs to: {error}")
            unreadable.append(each)
            continue
        if rejected and (count := Rejects(each).ask_again()):
            say(f"{each}: rejected batches to retry: {count}")
    for root in roots:
        if words := _start(root, settings):
            warn(f"the sending process exited immediately: {words}; see {root / 'shipper.err'}")
            return 1
    left = _wait(roots, unreadable, timeout_s)
    for each, state in left.items():
        warn(f"{each}: {state.problem or 'not stored yet'}")
    if folder is None:
        for place in other_places(roots[0]):
            say(f"there is more data in another folder: penstock sync --dir {place}")
    if not left:
        say("everything is stored" if not unreadable else "everything else is stored")
    return 1 if left or unreadable else 0


def _spools(roots: Iterable[Path]) -> Iterator[Path]:
    return (spool for root in roots for spool in spools_in(root))


def _prepare(folder: Path, meta: Meta, settings: Settings) -> None:
    """Mark offline data for sending; data with an impossible address goes to the server in the
    current settings, and what was logged without a key gets theirs if it goes to their server."""
    changed = replace(meta, offline=False)
    try:
        repaired_url(meta.base_url)
    except ValueError:
        if not settings.problem:
            changed = replace(changed, base_url=settings.base_url)
    if not changed.api_key and changed.base_url == settings.base_url:
        changed = replace(changed, api_key=settings.api_key)
    if changed != meta:
        store_meta(folder, changed)


def _start(root: Path, settings: Settings) -> str:
    """Make sure that a shipper is running; returns its last output if it exited immediately."""
    for is_bare in (False, True):
        starter = ensure_shipper(root, settings.spool_limit_bytes, is_bare=is_bare)
        if starter is None or starter.wait() == 0 or is_shipper_running(root):
            return ""
    return last_words(root) or "no output"


def _wait(roots: list[Path], unreadable: list[Path], timeout_s: float) -> dict[Path, Progress]:
    """Wait for everything to be stored, in bounded time; returns what is not."""
    begun = time.monotonic()
    while True:
        states = {each: load_progress(each) for each in _spools(roots) if each not in unreadable}
        left = {
            each: state
            for each, state in states.items()
            if not state.done or Rejects(each).asked_for()
        }
        hopeless = all(state.problem for state in left.values())
        if not left or time.monotonic() - begun > (_GRACE_S if hopeless else timeout_s):
            return left
        time.sleep(_POLL_S)
