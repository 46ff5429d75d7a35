"""Two checkouts, measured alternately: whether this one is slower than another.

    python -m benchmarks.compare ../before --only P1,P3,P4,P6 --pairs 10 --seconds 5

Each pair runs the suites in both, one after the other, in alternating order, so that noise
affects both. A figure is slower only if the 95 % interval of its ratio lies below 0.97.
`benchmarks.compare_running` is quicker, for the suites that it has.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from compileall import compile_dir
from contextlib import suppress
from pathlib import Path

from benchmarks.machine import describe

__all__ = ["HERE", "Comparison", "compare", "main", "options", "print_comparisons", "python_path"]

HERE = Path(__file__).parents[1]
_ALLOWED = 0.97
# Student's t for a two-sided 95 % interval, by degrees of freedom.
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14)
_VARIES = re.compile(r"\(.*|;.*|, [\d,]+ points$")
"""What a row says of one run only."""
_PACKAGES = (
    "client",
    "common",
    "storage",
    "ingest",
    "sweeps",
    "compat",
    "workers",
    "web",
    "server",
)


class Comparison:
    """The speeds of one figure, as ratios new / old of each pair; more than 1 is faster."""

    def __init__(self, name: str, ratios: list[float]) -> None:
        logs = [math.log(ratio) for ratio in ratios]
        self.name = name
        self.pairs = len(ratios)
        self.ratio = math.exp(statistics.fmean(logs))
        spread = statistics.stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else math.inf
        margin = _T[min(len(logs) - 2, len(_T) - 1)] * spread if len(logs) > 1 else math.inf
        self.low, self.high = self.ratio * math.exp(-margin), self.ratio * math.exp(margin)

    @property
    def is_slower(self) -> bool:
        return self.high < _ALLOWED

    def __str__(self) -> str:
        verdict = "**slower**" if self.is_slower else "not slower"
        return (
            f"| {self.name} | {self.ratio:.3f} | {self.low:.3f} to {self.high:.3f} "
            f"| {self.pairs} | {verdict} |"
        )


def compare(other: Path, suites: str, pairs: int, seconds: float) -> list[Comparison]:
    """Measure both checkouts `pairs` times, in alternating order, or until Ctrl-C."""
    ratios: dict[str, list[float]] = defaultdict(list)
    paths = {checkout: python_path(checkout) for checkout in (HERE, other)}
    with suppress(KeyboardInterrupt):
        for number in range(pairs):
            order = (HERE, other) if number % 2 else (other, HERE)
            found = {each: _measure(each, paths[each], suites, seconds) for each in order}
            for name, ours in found[HERE].items():
                if name in found[other]:
                    ratios[name].append(ours / found[other][name])
            print(f"  pair {number + 1} of {pairs}", flush=True)
    return [Comparison(name, each) for name, each in ratios.items()]


def python_path(checkout: Path) -> str:
    """PYTHONPATH for processes of this checkout. Its byte code is written, as an installation has it: else
    the start of a process is mostly compiling."""
    for package in _PACKAGES:
        compile_dir(checkout / package, quiet=1)
    return os.pathsep.join(str(checkout / package) for package in (".", *_PACKAGES))


def _measure(checkout: Path, path: str, suites: str, seconds: float) -> dict[str, float]:
    """The speed behind each figure of a run in this checkout: more is better."""
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        command = [
            sys.executable, "-m", "benchmarks", "--only", suites, "--seconds", str(seconds),
            "--json", str(figures),
        ]  # fmt: skip
        environ = {**os.environ, "PYTHONPATH": path}
        subprocess.run(command, cwd=checkout, env=environ, check=True, stdout=subprocess.DEVNULL)
        rows = json.loads(figures.read_text())["rows"]
    return {
        f"{row['number']} {_VARIES.sub('', row['what']).strip()}": speed
        for row in rows
        if (speed := _speed(row["ours"])) is not None
    }


def _speed(text: str) -> float | None:
    """The first figure of a row, turned so that more is better."""
    match = re.search(r"(?<![\w.])\d[\d,]*(?:\.\d+)?", text)
    if match is None:
        return None
    figure = float(match[0].replace(",", ""))
    is_rate = "/s" in text
    return figure if is_rate else 1 / figure if figure else None


def main() -> int:
    given = options("benchmarks.compare", __doc__, suites="P1,P3,P4,P6", seconds=5)
    return print_comparisons(compare(given.other, given.only, given.pairs, given.seconds))


def options(prog: str, about: str | None, *, suites: str, seconds: float) -> argparse.Namespace:
    """The command line: `other`, a checkout, `only`, `pairs` and `seconds`; with these defaults."""
    parser = argparse.ArgumentParser(prog=prog, description=about)
    parser.add_argument("other", type=_folder, help="the checkout to compare with")
    parser.add_argument("--only", default=suites, help="suites (%(default)s)")
    parser.add_argument("--pairs", type=int, default=10, help="runs of each (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=seconds, help="length of each load (%(default)s)"
    )
    return parser.parse_args()


def _folder(text: str) -> Path:
    return Path(text).resolve()


def print_comparisons(found: list[Comparison]) -> int:
    """The table; 1 if anything is slower, else 0."""
    print("\n" + ", ".join(f"{name} {value}" for name, value in describe().items()) + "\n")
    print("| | speed, new / old | 95 % interval | pairs | |")
    print("|---|---|---|---|---|")
    for each in found:
        print(each)
    return int(any(each.is_slower for each in found))


if __name__ == "__main__":
    sys.exit(main())
