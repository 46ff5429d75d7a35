"""The commands `penstock backup` and `penstock restore`."""

# Modules that open stores are loaded only by these commands.
# ruff: noqa: PLC0415

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from penstock.command_codes import CommandCode
from penstock.errors import Rejected
from penstock_common.process.settings import ServerSettings, load
from penstock_server.datafolder import DataFolder

__all__ = ["add_backup_commands"]

_SETTINGS_HELP = "the stores in PENSTOCK_STORE_URL, _CATALOG_URL and _BLOBS_URL"


def add_backup_commands(subparsers: Any, default_data: Path) -> None:
    """Add `backup` and `restore`."""
    backup = subparsers.add_parser(
        "backup", help="back up points, catalog and blobs, even while Penstock runs"
    )
    _add_place(backup, default_data, "data folder (%(default)s)")
    backup.add_argument(
        "--to", type=Path, required=True, help="folder to which a new generation is added"
    )
    backup.add_argument(
        "--keep",
        type=int,
        default=0,
        metavar="N",
        help="afterwards remove all but the newest N generations",
    )
    backup.set_defaults(run=_backup)
    restore = subparsers.add_parser("restore", help="restore a backup into a new data folder")
    _add_place(restore, None, "the new data folder")
    restore.add_argument(
        "--from", dest="source", type=Path, required=True,
        help="a backup folder (its newest generation is used) or one generation in it",
    )  # fmt: skip
    restore.set_defaults(run=_restore)


def _add_place(parser: argparse.ArgumentParser, default: Path | None, help_text: str) -> None:
    place = parser.add_mutually_exclusive_group(required=default is None)
    place.add_argument("--data", type=Path, default=default, help=help_text)
    place.add_argument("--settings", action="store_true", help=_SETTINGS_HELP)


def _backup(arguments: argparse.Namespace) -> int:
    if arguments.keep < 0:
        raise Rejected("--keep must be 0 or more", code=CommandCode.BAD_ARGUMENT)
    path = asyncio.run(_back_up(arguments))
    size_bytes = sum(file.stat().st_size for file in path.iterdir())
    _say(f"{path}: {size_bytes / 1e6:,.1f} MB, and blobs in {path.parent / 'blobs'}\n")
    return 0


async def _back_up(arguments: argparse.Namespace) -> Path:
    from penstock_server.backup import back_up
    from penstock_server.stores import stores_of_folder, stores_of_settings

    to, keep = arguments.to.expanduser().resolve(), arguments.keep
    progress = _Progress()
    if arguments.settings:
        settings = load(ServerSettings, environ=os.environ)
        async with stores_of_settings(settings) as stores:
            return await back_up(stores, to, {}, keep=keep, report=progress)
    folder = DataFolder(arguments.data)
    if not folder.catalog.exists():
        raise Rejected(f"there is no Penstock data in {folder.root}", code=CommandCode.NO_DATA)
    secrets = {"pepper": folder.secret("pepper"), "api_key": folder.api_key.read_text()}
    async with stores_of_folder(folder) as stores:
        return await back_up(stores, to, secrets, keep=keep, report=progress)


def _restore(arguments: argparse.Namespace) -> int:
    asyncio.run(_restore_from(arguments))
    return 0


async def _restore_from(arguments: argparse.Namespace) -> None:
    from penstock_server.restore import find_archive, restore_into_folder, restore_into_settings

    archive = await find_archive(arguments.source.expanduser().resolve())
    has_secrets = bool(json.loads(b"".join(archive.read("secrets"))))
    progress = _Progress()
    if arguments.settings:
        await restore_into_settings(archive, load(ServerSettings, environ=os.environ), progress)
        _say("Restored.\n")
        if has_secrets:
            _say(
                "API keys in this backup work only if PENSTOCK_SECRET is the"
                f" `pepper` in {archive.path / 'secrets.zst'}.\n"
            )
        return
    await restore_into_folder(archive, arguments.data, progress)
    _say(f"Restored. Start it with: penstock up --data {arguments.data}\n")
    if not has_secrets:
        _say(
            "This backup contains no secrets: its API keys no longer work; a new one will be created.\n"
        )


class _Progress:
    """Shows the progress on the terminal a few times a second."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._next = 0.0

    def __call__(self, what: str, done: int) -> None:
        now = time.monotonic()
        if self._is_terminal and now >= self._next:
            self._next = now + 0.2
            sys.stderr.write(f"\r{what}: {done:,}\033[K\r")


def _say(text: str) -> None:
    sys.stdout.write(text)
