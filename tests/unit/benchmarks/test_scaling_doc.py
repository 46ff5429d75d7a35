"""The tables of docs/scaling.md are those that `penstock plan` makes."""

from __future__ import annotations

import re

from benchmarks.scaling_doc import EXAMPLES, PAGE, filled, tables

from penstock_server.plan.workload import Workload


def test_the_page_has_the_tables_of_today() -> None:
    page = PAGE.read_text()
    assert filled(page) == page, "python -m benchmarks.scaling_doc"
    for table in tables().values():
        assert table in page


def test_a_stale_table_is_seen() -> None:
    page = PAGE.read_text()
    stale = re.sub(r"(\| points per second \|) [\d,]+", r"\1 1", page)
    assert stale != page
    assert filled(stale) == page


def test_examples_are_read_as_the_command_reads_them() -> None:
    assert EXAMPLES[2].load == Workload(
        runs=10_000, keys=200, hz=1.0, readers=100, retention=90.0, replicas=2
    )
    assert [each.load.runs for each in EXAMPLES] == [10, 1_000, 10_000]
