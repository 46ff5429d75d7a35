"""A run's curves in a notebook's cell: read from the spool as it grows, drawn with few points, escaped."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from penstock.runs.cell_chart import CellChart
from penstock.spool.meta import Meta
from penstock.spool.spool_folder import Spool, SpoolOptions
from penstock.spool.writer import Writer


def new_writer(root: Path) -> Writer:
    meta = Meta(
        base_url="http://127.0.0.1:9", api_key="k", entity=None, project="p", run="r", writer="w",
        writer_started=1,
    )  # fmt: skip

    def slow(data: object, step: Any, commit: bool | None) -> None:
        raise AssertionError("not a plain row")

    return Writer(lambda: Spool(root, meta, SpoolOptions()), slow)


def drawn(chart: CellChart) -> dict[str, int]:
    """The points of each curve."""
    text = chart.html("name", "http://host/?project=a/b&run=r", "running")
    found = re.findall(r"<b>(.*?)</b>.*?points=\"(.*?)\"", text)
    return {key: len(points.split()) for key, points in found}


def read_all(chart: CellChart) -> None:
    while chart.look():
        pass


def test_curves_grow_with_the_spool(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    writer.spool()
    chart = CellChart(tmp_path / "w")
    assert not chart.look()
    writer.log({"a": 1.0, "text": "x", "b": True, "bad": math.nan})
    writer.log({"a": 2, "c": 1.5})
    assert chart.look()
    assert not chart.look()
    assert drawn(chart) == {"a": 2, "c": 2}  # one point is drawn as a line
    for step in range(40_000):  # several segments, and more than are drawn
        writer.log({"a": float(step)})
    read_all(chart)
    assert chart.rows == 40_002
    assert 256 <= drawn(chart)["a"] <= 1_026
    writer.close()


def test_spikes_stay_and_nothing_is_taken_for_markup(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    writer.spool()
    for step in range(20_000):
        writer.log({"<b>&\"'": 100.0 if step == 7_777 else 1.0})
    chart = CellChart(tmp_path / "w")
    read_all(chart)
    text = chart.html("<name>", 'http://h/?a="><script>', "<state>")
    assert "1 … 100, steps 0–19999" in text
    assert "<script>" not in text
    assert "<name>" not in text
    assert "&lt;b&gt;&amp;" in text
    writer.close()


@pytest.mark.parametrize("count", [8, 9, 12, 300])
def test_of_many_keys_some_are_drawn(tmp_path: Path, count: int) -> None:
    writer = new_writer(tmp_path)
    writer.log({f"k{number}": float(number) for number in range(count)})
    chart = CellChart(tmp_path / "w")
    chart.look()
    assert len(drawn(chart)) == min(count, 9)
    more = f"{min(count, 200) - 9} more" in chart.html("n", "u", "s")
    assert more == (count > 9)
    writer.close()


def test_what_is_gone_or_damaged_is_left(tmp_path: Path) -> None:
    assert not CellChart(tmp_path / "none").look()
    writer = new_writer(tmp_path)
    writer.log({"a": 1.0})
    chart = CellChart(tmp_path / "w")
    assert chart.look()
    for path in (tmp_path / "w").glob("*.seg"):
        path.unlink()
    assert not chart.look()
    assert drawn(chart) == {"a": 2}
    writer.close()
