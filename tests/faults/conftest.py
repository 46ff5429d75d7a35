"""The table that `make fault` ends with: one line per row of the fault matrix.

A test says what it does in its docstring, `R1: Redis is killed …`; the fixture `row` takes what the
load was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator

import pytest

_ROW = re.compile(r"([A-Z]\d+(?:, [A-Z]\d+)*|[a-z]+): (.*?)(?:\.|$)")
_results: dict[str, list[str]] = {}


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Call it with what the load was."""

    def note(load: str) -> None:
        request.node.user_properties.append(("load", load))

    return note


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" or (report.when == "setup" and report.outcome != "passed"):
        function = getattr(item, "function", None)
        doc = " ".join((getattr(function, "__doc__", "") or "").split())
        found = _ROW.match(doc)
        name, what = found.groups() if found else ("", item.name)
        callspec = getattr(item, "callspec", None)
        if callspec is not None and found:
            what += f" ({callspec.id})"
        load = dict(item.user_properties).get("load", "")
        result: str = report.outcome
        if result == "skipped" and isinstance(report.longrepr, tuple):
            result = f"not run: {report.longrepr[2].removeprefix('Skipped: ')}"
        _results[item.nodeid] = [name, what, str(load), f"{result}, {report.duration:.1f} s"]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _results:
        return
    terminalreporter.section("faults")
    heads = ["row", "fault", "load", "result"]
    lines = [heads, *sorted(_results.values())]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        terminalreporter.write_line("  ".join(cells).rstrip())
