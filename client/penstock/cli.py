"""The `penstock` command: the client's commands here, the server's through entry points.

The client never imports the server: it finds functions `add_commands(subparsers)` in the entry point
group `penstock.commands`. A parser sets `run` to a function that takes the parsed arguments and
returns the exit status.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from penstock import __version__
from penstock.errors import PenstockError, Rejected

__all__ = ["main"]

_SERVER_COMMANDS = (
    "up",
    "down",
    "gateway",
    "worker",
    "web",
    "store",
    "key",
    "backup",
    "restore",
    "dead",
    "health",
)


_SWEEP_CHANGES = {
    "pause": "start no more trials for now",
    "resume": "resume the sweep",
    "stop": "start no more trials; running ones finish",
    "cancel": "stop running trials too",
}
_SWEEP_STATES = {"pause": "PAUSED", "resume": "RUNNING", "stop": "FINISHED", "cancel": "CANCELED"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="penstock", description="Self-hosted experiment tracking."
    )
    parser.add_argument("--version", action="version", version=f"penstock {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_client_commands(subparsers)
    missing = _add_server_commands(subparsers)
    if missing and arguments and arguments[0] in _SERVER_COMMANDS:
        print(
            f"penstock {arguments[0]} needs {missing}: pip install 'penstock[server]'",
            file=sys.stderr,
        )
        return 1
    parsed = parser.parse_args(arguments)
    try:
        return int(parsed.run(parsed) or 0)
    except PenstockError as error:
        hint = f"\n{error.hint}" if isinstance(error, Rejected) and error.hint else ""
        print(f"penstock: {error}{hint}", file=sys.stderr)
        return 1
    except ValueError as error:  # of a setting or an argument
        print(f"penstock: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _add_client_commands(subparsers: Any) -> None:
    login = subparsers.add_parser("login", help="check an API key and save it for later runs")
    login.add_argument("--host", metavar="URL", help="the server, which becomes the default")
    login.add_argument(
        "--key",
        metavar="-",
        help="'-' reads the key from standard input; by default it is prompted for",
    )
    login.set_defaults(run=_login)
    sync = subparsers.add_parser(
        "sync", help="send data still on this machine, including offline runs"
    )
    sync.add_argument("--dir", type=Path, help="folder that holds the data (default: PENSTOCK_DIR)")
    sync.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS")
    sync.add_argument(
        "--rejected",
        action="store_true",
        help="also retry batches that the server refused or could not process",
    )
    sync.set_defaults(run=_sync)
    _add_verify(subparsers)
    status = subparsers.add_parser(
        "status", help="show the data on this machine, how much is not stored yet, and why"
    )
    status.add_argument(
        "--dir", type=Path, help="folder that holds the data (default: PENSTOCK_DIR)"
    )
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(run=_status)
    demo = subparsers.add_parser("demo", help="train a few small models and log them")
    demo.add_argument("--runs", type=int, default=4, help="models to train at once (%(default)s)")
    demo.add_argument("--steps", type=int, default=1_500, help="batches per model (%(default)s)")
    demo.add_argument(
        "--seconds",
        type=float,
        default=45.0,
        help="time over which to spread the training run (%(default)s)",
    )
    demo.add_argument("--project", default="demo")
    demo.set_defaults(run=_demo)
    _add_export(subparsers)
    _add_edits(subparsers)
    _add_sweeps(subparsers)


def _add_edits(subparsers: Any) -> None:
    delete = subparsers.add_parser("delete", help="delete runs on the server permanently")
    delete.add_argument("places", nargs="+", metavar="[ENTITY/]PROJECT/RUN")
    delete.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    delete.set_defaults(run=_delete)
    move = subparsers.add_parser("move", help="move a run that has ended to another project")
    move.add_argument("place", metavar="[ENTITY/]PROJECT/RUN")
    move.add_argument("project", metavar="PROJECT")
    move.set_defaults(run=_move)


def _add_verify(subparsers: Any) -> None:
    verify = subparsers.add_parser(
        "verify", help="compare a run's sent data with the store, point by point"
    )
    verify.add_argument(
        "place",
        metavar="[[ENTITY/]PROJECT/]RUN",
        help="a run id alone names a run sent from this machine",
    )
    verify.add_argument(
        "--dir", type=Path, help="folder that holds the data (default: PENSTOCK_DIR)"
    )
    verify.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS",
        help="how long to wait for data still in transit (%(default)s)",
    )  # fmt: skip
    verify.add_argument("--json", action="store_true", help="print the result as JSON")
    verify.set_defaults(run=_verify)


def _add_export(subparsers: Any) -> None:
    export = subparsers.add_parser(
        "export", help="export runs at full resolution to files; resumes where it stopped"
    )
    export.add_argument("place", metavar="ENTITY/PROJECT[/RUN]")
    export.add_argument("--to", type=Path, required=True, metavar="DIR")
    export.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    export.add_argument(
        "--layout", choices=("wide", "long"), default="wide",
        help="wide: one row per step, one column per key; long: one row per key and step (%(default)s)",
    )  # fmt: skip
    export.add_argument(
        "--lanes", choices=("latest", "all"), default="latest",
        help="latest: rows of all ranks, each from its latest attempt; all: rows of every rank and attempt",
    )  # fmt: skip
    export.add_argument("--keys", default="", metavar="A,B", help="export only these keys")
    export.set_defaults(run=_export)


def _add_sweeps(subparsers: Any) -> None:
    sweep = subparsers.add_parser("sweep", help="create a sweep from a YAML file, or change one")
    sweep.add_argument("file", nargs="?", help="the configuration")
    sweep.add_argument(
        "--project", help="default: the configuration's project, then PENSTOCK_PROJECT"
    )
    sweep.add_argument("--entity")
    sweep.add_argument("--name")
    for option, about in _SWEEP_CHANGES.items():
        sweep.add_argument(f"--{option}", metavar="SWEEP", help=about)
    sweep.set_defaults(run=_sweep)
    agent = subparsers.add_parser("agent", help="run a sweep's program, trial after trial")
    agent.add_argument("sweep", metavar="[[ENTITY/]PROJECT/]SWEEP")
    agent.add_argument("--project")
    agent.add_argument("--entity")
    agent.add_argument("--count", type=int, help="maximum number of trials")
    agent.set_defaults(run=_agent)


def _add_server_commands(subparsers: Any) -> str:
    """Add the installed commands; returns the name of a missing module, or an empty string."""
    missing = ""
    for entry in entry_points(group="penstock.commands"):
        try:
            entry.load()(subparsers)
        except ImportError as error:
            missing = error.name or str(error)
    return missing


def _login(arguments: argparse.Namespace) -> int:
    from penstock.commands.signin import login

    key = arguments.key
    if key == "-":
        key = sys.stdin.readline().strip()
    elif key:
        print(
            "penstock: a key on the command line is visible to other users; use --key -",
            file=sys.stderr,
        )
    return 0 if login(key=key, host=arguments.host, relogin=True, must_answer=True) else 1


def _sync(arguments: argparse.Namespace) -> int:
    from penstock.commands.sync import run_sync

    return run_sync(
        arguments.dir,
        timeout_s=arguments.timeout,
        rejected=arguments.rejected,
        say=print,
        warn=lambda text: print(text, file=sys.stderr),
    )


def _verify(arguments: argparse.Namespace) -> int:
    from penstock.commands.verify import run_verify

    return run_verify(
        arguments.place,
        root=arguments.dir,
        timeout_s=arguments.timeout,
        as_json=arguments.json,
        say=print,
    )


def _status(arguments: argparse.Namespace) -> int:
    from penstock.commands.status import as_json, as_text, status_of
    from penstock.settings import Settings
    from penstock.spool.root import open_root

    settings = Settings.resolve(None, {})
    root: Path = arguments.dir or settings.root
    if root.is_dir():
        root = open_root(root)
    status = status_of(root, settings.spool_limit_bytes)
    print(as_json(status) if arguments.json else as_text(status))
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from penstock.reading.export import run_export

    options = {"format": arguments.format, "layout": arguments.layout, "lanes": arguments.lanes}
    if arguments.keys:
        options["keys"] = arguments.keys
    run_export(arguments.place, arguments.to, options, lambda text: print(text, file=sys.stderr))
    return 0


def _delete(arguments: argparse.Namespace) -> int:
    from penstock.reading.edits import delete_runs

    return delete_runs(arguments.places, print, is_sure=arguments.yes)


def _move(arguments: argparse.Namespace) -> int:
    from penstock.reading.edits import move_run

    return move_run(arguments.place, arguments.project, print)


def _sweep(arguments: argparse.Namespace) -> int:
    from penstock.settings import Settings
    from penstock.sweeps.sweep_link import SweepLink, sweep

    changes = {option: getattr(arguments, option) for option in _SWEEP_CHANGES}
    wanted = [(option, place) for option, place in changes.items() if place]
    if len(wanted) + (arguments.file is not None) != 1:
        print("penstock sweep: give a file, or one sweep to change", file=sys.stderr)
        return 2
    if arguments.file is not None:
        print(sweep(Path(arguments.file), arguments.entity, arguments.project, name=arguments.name))
        return 0
    ((option, place),) = wanted
    given = {"entity": arguments.entity, "project": arguments.project}
    link = SweepLink(Settings.resolve(None, given))
    print(link.change(link.place(place), _SWEEP_STATES[option])["state"])
    return 0


def _agent(arguments: argparse.Namespace) -> int:
    from penstock.settings import Settings
    from penstock.sweeps.agents import run_agent

    given = {"entity": arguments.entity, "project": arguments.project}
    settings = Settings.resolve(None, given)
    return 1 if run_agent(arguments.sweep, settings, None, arguments.count) else 0


def _demo(arguments: argparse.Namespace) -> int:
    from penstock.commands.demo import run_demo

    return run_demo(
        runs=arguments.runs,
        steps=arguments.steps,
        seconds=arguments.seconds,
        project=arguments.project,
    )


if __name__ == "__main__":
    sys.exit(main())
