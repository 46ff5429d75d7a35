"""`python -m loadtests.compose`: the shapes of load against deploy/compose.yaml, through its proxy, and
after each its ledger.

The services of the file run as plain processes in network namespaces (`benchmarks.compose`), with
Penstock's store in place of ClickHouse's server and without Grafana. Needs root and the programs of
the services. Exits with 1 if an acknowledged batch is missing, duplicated or altered, if a request failed,
or if a service does not end with 0.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from benchmarks.compose.project import ComposeProject, why_no_compose

from loadtests.__main__ import Target, run_shape, shape_names
from loadtests.shapes import SHAPES

__all__ = ["main"]

_DEPLOY = Path(__file__).parents[1] / "deploy"
_FILES = (_DEPLOY / "compose.yaml", _DEPLOY / "compose.store.yaml")
_NOT_HERE = {"grafana"}
_KEY = "penstock key create --settings --name load --scopes read,write,admin"


def main() -> int:
    """Start everything, run the shapes one after another, and stop everything."""
    parser = argparse.ArgumentParser(prog="loadtests.compose", description=__doc__)
    parser.add_argument("--shape", default="all", help=f"{', '.join(SHAPES)}, or all")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of each shape")
    parser.add_argument(
        "--processes", type=int, default=2, help="locust workers that share the load"
    )
    arguments = parser.parse_args()
    names = shape_names(parser, arguments.shape)
    # So that what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="penstock-compose-") as name:
        folder = Path(name)
        env_file = folder / "env"
        subprocess.run(
            [_DEPLOY / "compose" / "make-env", env_file], check=True, capture_output=True
        )
        if why_not := why_no_compose(_FILES, env_file, without=_NOT_HERE):
            sys.stderr.write(f"loadtests.compose cannot run here: {why_not}\n")
            return 2
        with ComposeProject(folder, _FILES, env_file, without=_NOT_HERE) as project:
            return _run(project, names, arguments.seconds, arguments.processes)


def _run(project: ComposeProject, names: list[str], seconds: float, processes: int) -> int:
    started = time.monotonic()
    project.up()
    print(f"{len(project.containers)} services are up after {time.monotonic() - started:.0f} s")
    created = project.containers["worker-0"].run(_KEY.split())
    created.check_returncode()
    target = Target(project.url("proxy", 8080), created.stdout.strip(), None, processes)
    is_good = True
    for name in names:
        before = _cpu_seconds(project)
        is_good &= run_shape(name, seconds, target)
        used = {role: used_s - before[role] for role, used_s in _cpu_seconds(project).items()}
        most = sorted(used.items(), key=lambda each: -each[1])
        shown = ", ".join(f"{role} {used_s:.1f}" for role, used_s in most if used_s >= 0.05)
        print(f"  CPU seconds, the ledger's reads included: {shown}")
    statuses = project.down()
    if bad := {name: status for name, status in statuses.items() if status}:
        print(f"these services did not end with 0: {bad}")
    return 0 if is_good and not bad else 1


def _cpu_seconds(project: ComposeProject) -> dict[str, float]:
    """By service, of its process and its children."""
    found: dict[str, float] = {}
    for name, container in project.containers.items():
        if container.process.poll() is None:
            own = psutil.Process(container.process.pid)
            family = [own, *own.children(recursive=True)]
            found[name] = sum(sum(each.cpu_times()[:4]) for each in family)
    return found


if __name__ == "__main__":
    sys.exit(main())
