"""The server's commands: `up`, `down`, and each role on its own.

`penstock` loads this module for every command, also for the client's: what a command needs beyond its
arguments is imported when it runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from penstock_server.backup_commands import add_backup_commands
from penstock_server.dead_letters import add_dead_letter_commands
from penstock_server.key_command import add_key_command
from penstock_server.plan_command import add_plan_command

__all__ = ["add_commands"]

_ROLES = {
    "gateway": ("penstock_server.gateway", "accept batches (the write side of the API)", "write"),
    "web": ("penstock_server.gateway", "serve the read API and the page", "read"),
    "worker": ("penstock_workers.main", "move batches from the queue to the stores", ""),
    "store": (
        "penstock_storage.embedded.store_process",
        "run an embedded point store (see --help for flags)",
        "",
    ),
}


def add_commands(subparsers: Any) -> None:
    """Add the server's commands to the `penstock` command.

    Raises ModuleNotFoundError where the client alone is installed: the wheel holds both.
    """
    if find_spec("aiohttp") is None:
        raise ModuleNotFoundError("no module named aiohttp", name="aiohttp")
    up = subparsers.add_parser("up", help="start all of Penstock on this machine")
    up.add_argument("--host", help="address to listen on (PENSTOCK_HOST, else 127.0.0.1)")
    up.add_argument("--port", type=int, help="port, 0 = a free one (PENSTOCK_PORT, else 8080)")
    up.add_argument("--data", type=Path, default=_default_data(), help="data folder (%(default)s)")
    up.add_argument("--gateways", type=int, default=1, help="gateway processes (%(default)s)")
    up.add_argument("--workers", type=int, default=1, help="worker processes (%(default)s)")
    up.add_argument(
        "--root-path", help="path prefix behind a proxy, e.g. /penstock (PENSTOCK_ROOT_PATH)"
    )
    up.add_argument("--require-login", action="store_true", help="require a key even on loopback")
    up.add_argument("--detach", action="store_true", help="run in the background")
    up.add_argument("--ready-file", type=Path, help="JSON file to write when everything is ready")
    up.set_defaults(run=_up)
    down = subparsers.add_parser("down", help="stop an installation started with `up --detach`")
    down.add_argument(
        "--data", type=Path, default=_default_data(), help="data folder (%(default)s)"
    )
    down.set_defaults(run=_down)
    add_backup_commands(subparsers, _default_data())
    add_dead_letter_commands(subparsers, _default_data())
    add_key_command(subparsers, _default_data())
    health = subparsers.add_parser("health", help="exit with 0 if a role on this machine works")
    health.add_argument(
        "--url", help="what to ask (default: /healthz where PENSTOCK_* variables say it listens)"
    )
    health.set_defaults(run=_health)
    add_plan_command(subparsers)
    for role, (module, text, serves) in _ROLES.items():
        about = f"{text}; settings from PENSTOCK_* variables"
        if role == "store":  # no prefix character: all arguments belong to it
            parser = subparsers.add_parser(role, help=about, add_help=False, prefix_chars="\0")
            parser.add_argument("arguments", nargs="*")
        else:
            parser = subparsers.add_parser(
                role, help=about, description=f"{about} (docs/configuration.md)."
            )
        parser.set_defaults(run=partial(_role, module, serves), arguments=[])


def _default_data() -> Path:
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(os.environ.get("PENSTOCK_DATA") or f"{home}/penstock").expanduser()


def _role(module: str, serves: str, arguments: argparse.Namespace) -> int:
    """Become this role, with no process in between, so that signals reach it."""
    if serves:
        os.environ.setdefault("PENSTOCK_SERVES", serves)
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments.arguments])  # noqa: S606


def _up(arguments: argparse.Namespace) -> int:
    from penstock_server.up_command import up

    return up(arguments)


def _health(arguments: argparse.Namespace) -> int:
    from penstock_server.health_command import check

    return check(arguments.url, os.environ)


def _down(arguments: argparse.Namespace) -> int:
    from penstock_server.up_command import down

    return down(arguments)
