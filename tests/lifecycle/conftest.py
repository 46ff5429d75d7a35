"""The table that these tests end with: one line per scene, with for how long nothing was queued, nothing stored
and no chart drawn, at most. A test says in the first sentence of its docstring what happens.

PENSTOCK_TEST_SCENES names a file that gets the same as JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from support.pods.cluster import Cluster
from support.pods.scenes import Play, Scene, played

_HEADS = ("scene", "queued", "stored", "charts", "sent again", "result")
_results: dict[str, tuple[str, ...]] = {}


@pytest.fixture
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Play:
    def note(scene: Scene) -> None:
        pauses = scene.pauses
        gaps = (pauses.queued, pauses.stored, pauses.charts)
        figures = [*(f"{gap.longest_s:.1f} s" for gap in gaps), str(scene.load.generated.repeats)]
        request.node.user_properties.append(("figures", figures))

    def play(cluster: Cluster) -> AbstractAsyncContextManager[Scene]:
        return played(cluster, tmp_path_factory.mktemp("load"), note)

    return play


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if "scene" not in getattr(item, "fixturenames", ()):
        return report
    doc = " ".join((getattr(getattr(item, "function", None), "__doc__", "") or "").split())
    name = doc.partition(".")[0] or item.name
    callspec = getattr(item, "callspec", None)
    report.user_properties.append(("scene", f"{name} ({callspec.id})" if callspec else name))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In the process that prints the table, wherever the test ran."""
    known = dict(report.user_properties)
    if "scene" in known and (report.when == "call" or report.outcome != "passed"):
        result: str = report.outcome
        if result == "skipped" and isinstance(report.longrepr, tuple):
            result = f"not run: {report.longrepr[2].removeprefix('Skipped: ')}"
        figures = map(str, known.get("figures") or [""] * 4)  # type: ignore[call-overload]
        line = [str(known["scene"]), *figures, f"{result}, {report.duration:.0f} s"]
        _results[report.nodeid] = tuple(line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = [_HEADS, *_results.values()]
    if not _results:
        return
    terminalreporter.section("pod life cycle: the longest pauses")
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        terminalreporter.write_line("  ".join(cells).rstrip())
    if path := os.environ.get("PENSTOCK_TEST_SCENES"):
        Path(path).write_text(
            json.dumps([dict(zip(_HEADS, each, strict=True)) for each in lines[1:]])
        )
