"""Writes docs/wandb-names.md: every public name of the installed official client, and what it is here.

    python tests/support/wandb_names.py

The tables in `penstock.surface` say it; this compares them with both packages.
"""

from __future__ import annotations

import functools
import inspect
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import penstock
from penstock import settings
from penstock.reading.api import Api, ApiRun, Project, Runs
from penstock.runs.metrics import MetricDefinition
from penstock.runs.run import Run
from penstock.surface.logging_names import ARGUMENTS, CONFIG, METRIC, MODULE, RUN, SUMMARY
from penstock.surface.names import Name, Standing, Table
from penstock.surface.reading_names import API, API_RUN, PROJECT, RUNS
from penstock.surface.setting_names import SETTINGS, VARIABLES
from penstock.values.fields import Config, Summary
from penstock.wire.run_fields import PLAIN_FIELDS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "wandb-names.md"
MISSING = ROOT / "tests" / "packaging" / "wandb_names_missing.txt"

_LISTING = """
import inspect, json, sys, wandb
module = sorted({*(name for name in dir(wandb) if name[0] != "_"), *wandb.__all__} - {"annotations"})
from wandb import env
from wandb.apis.public import Project, Run as ApiRun, Runs
from wandb.sdk.wandb_config import Config
from wandb.sdk.wandb_metric import Metric
from wandb.sdk.wandb_summary import Summary

def public(thing):
    return [name for name in dir(thing) if not name.startswith("_")]

def parameters(function):
    return [name for name in inspect.signature(function).parameters if name != "self"]

def functions(thing, names):
    found = {name: inspect.getattr_static(thing, name, None) for name in names}
    return {name: parameters(each) for name, each in found.items() if inspect.isfunction(each)}

classes = {
    "Run": wandb.Run, "Config": Config, "Summary": Summary, "Metric": Metric, "Api": wandb.Api,
    "ApiRun": ApiRun, "Runs": Runs, "Project": Project,
}
names = {"module": module, **{name: public(each) for name, each in classes.items()}}
names["Run"] += [name for name in wandb.Run.__annotations__ if name[0] != "_"]
names["Settings"] = sorted(wandb.Settings.model_fields)
names["variables"] = sorted({
    value for name, value in vars(env).items()
    if name.isupper() and isinstance(value, str) and value.startswith("WANDB_")
})
arguments = {"module": functions(wandb, module)}
arguments |= {name: functions(each, public(each)) for name, each in classes.items()}
json.dump({"version": wandb.__version__, "names": names, "arguments": arguments}, sys.stdout)
"""


class Scope:
    """One table, the thing of Penstock's that it is about, and its title."""

    def __init__(self, key: str, title: str, table: Table, has: Any) -> None:
        self.key = key
        self.title = title
        self.table = table
        self.has = has
        """Whether Penstock has a name."""


def _of_class(cls: type, *more: str) -> Any:
    return lambda name: name in more or inspect.getattr_static(cls, name, None) is not None


@functools.cache
def _a_run() -> Run:
    return Run(settings.Settings(mode="disabled", project="p"))


def _of_run(name: str) -> bool:
    return inspect.getattr_static(_a_run(), name, _of_run) is not _of_run


def _of_module(name: str) -> bool:
    return name in {*vars(penstock), *penstock._LAZY, *penstock._MODULES, "config", "summary"}


def _of_settings(name: str) -> bool:
    return name in settings._NAMES or name in settings._OTHER_NAMES or name == "root_dir"


def _of_variables(name: str) -> bool:
    read = {each for several in settings._VARIABLES.values() for each in several}
    return name in read or name in ("WANDB_DIR", "WANDB_DISABLED")


SCOPES = (
    Scope("module", "The module", MODULE, _of_module),
    Scope("Run", "`Run`", RUN, _of_run),
    Scope("Config", "`run.config`", CONFIG, _of_class(Config)),
    Scope("Summary", "`run.summary`", SUMMARY, _of_class(Summary)),
    Scope("Metric", "What `define_metric` returns", METRIC, _of_class(MetricDefinition)),
    Scope("Settings", "`Settings`", SETTINGS, _of_settings),
    Scope("variables", "Environment variables", VARIABLES, _of_variables),
    Scope("Api", "`Api`", API, _of_class(Api)),
    Scope("ApiRun", "`Api().run(…)`", API_RUN, _of_class(ApiRun, *PLAIN_FIELDS)),
    Scope("Runs", "`Api().runs(…)`", RUNS, _of_class(Runs)),
    Scope("Project", "`Api().project(…)`", PROJECT, _of_class(Project)),
)


@functools.cache
def official() -> dict[str, Any]:
    """The official client's names and arguments: {version, names, arguments}."""
    listed = subprocess.run(
        [sys.executable, "-c", _LISTING], capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[str, Any] = json.loads(listed.stdout)
    return found


def arguments_of(function: str) -> list[str]:
    """The official client's arguments of a function of the module."""
    # Some are functions only once there is a run; the methods have the same arguments.
    known = official()["arguments"]
    found: list[str] = known["module"].get(function) or known["Run"][function]
    return found


def missing_names() -> set[str]:
    """All names that are not there, as `scope.name`."""
    tables: dict[str, Table] = {scope.key: scope.table for scope in SCOPES}
    tables |= {f"{function}()": table for function, table in ARGUMENTS.items()}
    return {
        f"{key}.{name}"
        for key, table in tables.items()
        for name, found in table.items()
        if found.standing is Standing.NOT
    }


def page() -> str:
    """The whole document."""
    parts = [_HEAD.format(version=official()["version"], counts=_counts())]
    for scope in SCOPES:
        rows = _rows(scope.table, tells_use=scope.key not in ("Settings", "variables"))
        parts.append(f"## {scope.title}\n\n{_INTRODUCTIONS.get(scope.key, '')}{rows}")
        if scope.key == "module":
            parts.append(f"## Arguments\n\n{_INTRODUCTIONS['arguments']}{_argument_rows()}")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _counts() -> str:
    lines = ["| | same | different | not |", "|---|---:|---:|---:|"]
    tables: list[tuple[str, list[Name]]] = [
        (scope.title, [*scope.table.values()]) for scope in SCOPES
    ]
    tables.append(("arguments", [each for table in ARGUMENTS.values() for each in table.values()]))
    for title, names in tables:
        counts = (sum(each.standing is standing for each in names) for standing in Standing)
        lines.append(f"| {title} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


def _rows(table: Table, *, tells_use: bool = True) -> str:
    """First those that are the same, in a line; then a row for each reason."""
    parts = []
    same = sorted((n for n, each in table.items() if each.standing is Standing.SAME), key=str.lower)
    if same:
        parts.append(f"Same: {', '.join(f'`{name}`' for name in same)}.")
    others = {name: each for name, each in table.items() if name not in same}
    tells_use = tells_use and any(each.use.value for each in others.values())
    if rows := _by_reason(others, tells_use=tells_use):
        head = "| name | is | how, or why not |" + " using it |" * tells_use
        head += "\n|---|---|---|" + "---|" * tells_use
        parts.append("\n".join([head, *rows]))
    return "\n\n".join(parts)


def _by_reason(table: Mapping[str, Name], *, tells_use: bool) -> list[str]:
    groups: dict[Name, list[str]] = {}
    for name, each in table.items():
        groups.setdefault(each, []).append(name)
    order = [*Standing]
    return [
        f"| {', '.join(f'`{name}`' for name in sorted(names, key=str.lower))} "
        f"| {each.standing.value} | {each.about} |" + f" {each.use.value} |" * tells_use
        for each, names in sorted(groups.items(), key=lambda pair: order.index(pair[0].standing))
    ]


def _argument_rows() -> str:
    lines = []
    for function, table in ARGUMENTS.items():
        lines.append(f"### `{function}`\n\n{_rows(table, tells_use=False)}")
    return "\n\n".join(lines)


_HEAD = """\
# W&B's names

Every public name of the official client ({version}), and what it is after `import penstock as wandb`. This page is
written by `python tests/support/wandb_names.py` from `client/penstock/surface`; a test compares it with both
packages.

- **same**: as in W&B, with the same arguments in the same order.
- **different**: it is there, and behaves as the table says.
- **not**: it is not there. A name that only writes or decorates warns once and does nothing: it returns a harmless
  object, which is empty and false, accepts any call, and is left out where it is logged. A name that returns data
  raises `penstock.NotSupported`, since a stand-in would let a script go on with wrong data. A module that is missing
  raises `ImportError`. All of this holds with `mode="disabled"`, too.

`Error`, `CommError`, `AuthenticationError`, `UsageError` and `UnsupportedError` are classes of Penstock's own errors,
so that `except wandb.errors.CommError` catches them.

{counts}
"""
_INTRODUCTIONS = {
    "arguments": "An argument that is not there is noted once. Unknown ones are, too, where W&B raises TypeError.\n\n",
    "Settings": (
        "Those that are not there are noted once and can be read back. Each of the others can also be given to "
        "`init(settings=…)` as a dict.\n\n"
    ),
    "variables": (
        "Penstock's own variable of the same meaning takes precedence; see [configuration](configuration.md#client). "
        "Variables that are not read are silently without effect, since they were set for many scripts.\n\n"
    ),
}

if __name__ == "__main__":
    PAGE.write_text(page())
    MISSING.write_text("".join(f"{name}\n" for name in sorted(missing_names())))
