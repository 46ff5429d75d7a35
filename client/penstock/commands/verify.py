"""`penstock verify`: checks that everything sent from this machine for a run is stored.

Compares each writer's spool, or the receipt that outlives it, with the server's ledger, which is read
from the store.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from penstock.command_codes import CommandCode
from penstock.commands.comparison import Comparison, compare, not_asked, not_from_here
from penstock.credentials import stored_key
from penstock.errors import Rejected, Transient
from penstock.reading.ledger import LedgerReader, StoredWriter
from penstock.reading.reader import Reader
from penstock.runs.launch import ensure_shipper
from penstock.settings import Settings
from penstock.shipper.receipts import Receipt, receipts_in
from penstock.spool.meta import load_meta
from penstock.spool.progress import load_progress
from penstock.spool.root import open_root, roots_at
from penstock.spool.spool_folder import is_writer_alive

__all__ = ["run_verify"]

_POLL_S = 0.1
_COUNTS = ("missing", "duplicate", "altered", "phantom")


class _Sent(NamedTuple):
    """A writer known on this machine; `folder` is its spool, if it still exists."""

    receipt: Receipt
    folder: Path | None

    @property
    def is_writing(self) -> bool:
        return (
            self.folder is not None
            and not self.receipt.is_complete
            and is_writer_alive(self.folder)
        )


class _Place(NamedTuple):
    """A run and its server."""

    base_url: str
    entity: str | None
    project: str
    run: str

    def is_of(self, receipt: Receipt) -> bool:
        mine = receipt.base_url, receipt.project, receipt.run
        same_entity = None in (self.entity, receipt.entity) or self.entity == receipt.entity
        return mine == (self.base_url, self.project, self.run) and same_entity


def run_verify(
    place: str, *, root: Path | None, timeout_s: float, as_json: bool, say: Callable[[str], None]
) -> int:
    """Verify ENTITY/PROJECT/RUN, PROJECT/RUN or a RUN that was sent from this machine. Returns 0 only
    if everything is stored exactly as sent. Raises PenstockError.

    `root`: the folder of one host, or one with the folders of several. If the server does not answer,
    what is kept here is reported all the same."""
    settings = Settings.resolve(None, {})
    host = settings.host_name
    roots = roots_at(root, host) if root else [open_root(settings.root, host)]
    deadline = time.monotonic() + timeout_s
    where = _resolve(place, settings, roots)
    due = _wait(roots, where, deadline)
    reader = Reader(where.base_url, settings.ca_file, settings.proxies)
    key = settings.api_key or stored_key(where.base_url) or _spooled_key(roots, where)
    silence = ""
    try:
        entity = where.entity or str(reader.get("/v1/viewer", key)["entity"])
        where = where._replace(entity=entity)
        ledger = LedgerReader(reader, key, entity, where.project, where.run, deadline)
        comparisons = _compare(roots, where, ledger, due)
    except Transient as error:
        sent = _sent(roots, where)
        if not sent:
            raise
        silence = str(error)
        comparisons = [
            not_asked(each.receipt, each.folder, is_writing=each.is_writing) for each in sent
        ]
    report = _report(where, comparisons, silence)
    if as_json:
        say(json.dumps(report, indent=2))
    else:
        _print(report, comparisons, say)
    return 0 if report["clean"] else 1


def _receipts_in(roots: list[Path]) -> Iterator[tuple[Receipt, Path | None]]:
    return (each for root in roots for each in receipts_in(root))


def _resolve(place: str, settings: Settings, roots: list[Path]) -> _Place:
    names = [name for name in place.strip("/").split("/") if name]
    if not 1 <= len(names) <= 3:
        raise Rejected(
            f"{place!r} does not name a run",
            code=CommandCode.BAD_PATH,
            hint="Write ENTITY/PROJECT/RUN, PROJECT/RUN, or a RUN that was sent from this machine.",
        )
    run, project = names[-1], names[-2] if len(names) > 1 else None
    entity = names[0] if len(names) == 3 else None
    base_url = settings.base_url if "base_url" in settings.given else None
    found = {
        _Place(own.base_url, own.entity, own.project, run)
        for own, _ in _receipts_in(roots)
        if own.run == run
        and project in (None, own.project)
        and (entity is None or own.entity in (None, entity))
        and base_url in (None, own.base_url)
    }
    if len({each._replace(entity=None) for each in found}) > 1:
        listed = ", ".join(sorted(f"{each.project}/{run} at {each.base_url}" for each in found))
        raise Rejected(
            f"{place!r} matches several runs: {listed}",
            code=CommandCode.AMBIGUOUS,
            hint="Give the project, or set PENSTOCK_BASE_URL.",
        )
    first = min(found, key=repr, default=None)
    return _Place(
        base_url or (first.base_url if first else settings.base_url),
        entity or settings.entity or (first.entity if first else None),
        project or (first.project if first else settings.project),
        run,
    )


def _sent(roots: list[Path], where: _Place) -> list[_Sent]:
    return [_Sent(*each) for each in _receipts_in(roots) if where.is_of(each[0])]


def _wait(roots: list[Path], where: _Place, deadline: float) -> dict[str, int]:
    """Wait for data in transit: everything of a writer that has ended, and for one still logging
    whatever was cut when this started. Returns the number of due batches per writer."""
    sent = _sent(roots, where)
    due = {each.receipt.writer: each.receipt.batches for each in sent}
    spools = {
        each.receipt.writer: each.folder
        for each in sent
        if each.folder is not None
        and not each.receipt.is_complete
        and not load_meta(each.folder).offline
    }
    starters = [ensure_shipper(root) for root in {folder.parent for folder in spools.values()}]
    while spools and time.monotonic() < deadline:
        for writer, folder in list(spools.items()):
            progress = load_progress(folder)
            arrived = progress.committed >= due[writer] and is_writer_alive(folder)
            if progress.done or arrived or not folder.exists():
                del spools[writer]
        if spools:
            time.sleep(_POLL_S)
    for starter in starters:
        if starter is not None:
            starter.wait()
    return due


def _spooled_key(roots: list[Path], where: _Place) -> str:
    folders = (each.folder for each in _sent(roots, where) if each.folder is not None)
    return next((key for folder in folders if (key := load_meta(folder).api_key)), "")


def _compare(
    roots: list[Path], where: _Place, ledger: LedgerReader, due: dict[str, int]
) -> list[Comparison]:
    writing = {each.receipt.writer for each in _sent(roots, where) if each.is_writing}
    stored = _stored(ledger)
    # Again: a logging writer may have sent more since this started, never less.
    sent = {each.receipt.writer: each for each in _sent(roots, where)}
    found = [
        compare(
            each.receipt,
            each.folder,
            stored.get(writer),
            ledger,
            due=due.get(writer, 0) if writer in writing else each.receipt.batches,
            is_writing=writer in writing,
        )
        for writer, each in sent.items()
    ]
    found += [not_from_here(own) for writer, own in stored.items() if writer not in sent]
    return sorted(found, key=lambda each: (each.rank, each.started, each.writer))


def _stored(ledger: LedgerReader) -> dict[str, StoredWriter]:
    try:
        return {each.writer: each for each in ledger.writers()}
    except Rejected as error:
        if error.status != 404:
            raise
        return {}


def _report(where: _Place, comparisons: list[Comparison], silence: str) -> dict[str, Any]:
    """The output of `--json`. Totals cover what was sent from this machine; `silence` is why the server
    could not be asked."""
    mine = [each for each in comparisons if each.is_from_here]
    totals = {
        name: sum(getattr(each, name) for each in mine)
        for name in ("sent", "stored", *_COUNTS, "unsent")
    }
    return {
        "server": where.base_url,
        "entity": where.entity,
        "project": where.project,
        "run": where.run,
        "clean": bool(mine) and all(each.is_clean for each in comparisons),
        "silence": silence,
        **totals,
        "writers": [{**asdict(each), "clean": each.is_clean} for each in comparisons],
    }


def _print(
    report: dict[str, Any], comparisons: list[Comparison], say: Callable[[str], None]
) -> None:
    say(f"{report['entity'] or '-'}/{report['project']}/{report['run']} at {report['server']}")
    if report["silence"]:
        say(f"the server cannot be asked: {report['silence']}")
    say(f"{'writer':<12}{'rank':>5}  {'started (UTC)':<20}{'batches':>15}{'points':>27}")
    for each in comparisons:
        started = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(each.started / 1e6))
        batches = f"{each.batches_stored:,}/{each.batches_sent:,}"
        points = f"{each.stored:,}/{each.sent:,}"
        verdict = "ok" if each.is_clean else "NOT AS SENT"
        if not each.is_from_here and each.is_clean:
            verdict = ""
        line = f"{each.writer[:10]:<12}{each.rank:>5}  {started:<20}{batches:>15}{points:>27}  {verdict}"
        say(line.rstrip())
        for text in (*each.problems, *each.notes):
            say(f"    {text}")
    if not any(each.is_from_here for each in comparisons):
        say("nothing of this run was sent from this machine, so there is nothing to compare")
    counts = ", ".join(f"{report[name]:,} {name}" for name in _COUNTS)
    say(f"{report['sent']:,} points sent, {report['stored']:,} stored: {counts}")
    if report["unsent"]:
        say(f"{report['unsent']:,} more points are logged and not sent yet")
