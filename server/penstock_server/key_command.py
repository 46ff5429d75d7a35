"""The commands `penstock key list | create | revoke`."""

# Modules that open catalogs and connections are loaded only by these commands.
# ruff: noqa: PLC0415

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.command_codes import CommandCode
from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_server.place_arguments import add_place_arguments

if TYPE_CHECKING:
    from penstock_server.key_places import KeyPlace
    from penstock_storage.contracts.account_rows import KeyRow

__all__ = ["add_key_command", "matching", "parse_expiry"]

_SCOPES = ("read", "write", "admin")
_AGE = re.compile(r"(\d{1,6})([hdw])", re.A)
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_PREFIX = re.compile(r"penstock_[a-z]+_(\w{10})\w*", re.A)
_MAX_NAME_CHARS = 200


def add_key_command(subparsers: Any, default_data: Path) -> None:
    """Add the command `key`."""
    key = subparsers.add_parser("key", help="list, create and revoke API keys")
    actions = key.add_subparsers(metavar="ACTION", required=True)
    texts = {
        "list": "list API keys, without their secrets",
        "create": "create an API key and print it once",
        "revoke": "revoke API keys permanently, with their sessions and signed URLs",
    }
    for action, text in texts.items():
        parser = actions.add_parser(action, help=text)
        place = add_place_arguments(
            parser,
            default_data,
            data="data folder of `penstock up` on this machine",
            settings="the catalog in PENSTOCK_CATALOG_URL",
        )
        place.add_argument(
            "--host", metavar="URL", help="a server, using the key you logged in with"
        )
        _add_arguments(action, parser)
        parser.set_defaults(run=_run, action=action)


def _add_arguments(action: str, parser: argparse.ArgumentParser) -> None:
    if action == "list":
        parser.add_argument("--json", action="store_true", help="print JSON")
    elif action == "create":
        parser.add_argument("--name", required=True, help="what the key is for, such as 'ci'")
        parser.add_argument("--entity", help="the key's entity (default: the installation's)")
        parser.add_argument("--scopes", help="any of read, write, admin (default: read,write)")
        parser.add_argument(
            "--expires", metavar="WHEN", help="12h, 90d, 8w or a date such as 2027-01-31"
        )
    else:
        parser.add_argument("ids", nargs="+", metavar="ID", help="the key's id or its beginning")


def _run(arguments: argparse.Namespace) -> int:
    return asyncio.run(_act(arguments))


async def _act(arguments: argparse.Namespace) -> int:
    async with _place(arguments) as place:
        return await _ACTIONS[arguments.action](place, arguments)


def _place(arguments: argparse.Namespace) -> AbstractAsyncContextManager[KeyPlace]:
    from penstock_server.key_places import catalog_of_folder, catalog_of_settings, server_at

    if arguments.host:
        return server_at(arguments.host)
    return catalog_of_settings() if arguments.settings else catalog_of_folder(arguments.data)


async def _list(place: KeyPlace, arguments: argparse.Namespace) -> int:
    keys = await place.keys()
    if arguments.json:
        _say(json.dumps([_fields(key) for key in keys], indent=2))
        return 0
    head = ("ID", "NAME", "ENTITY", "SCOPES", "CREATED", "LAST USED", "EXPIRES", "STATE")
    rows = [head, *(_cells(key) for key in keys)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        _say("  ".join(cells).rstrip())
    return 0


async def _create(place: KeyPlace, arguments: argparse.Namespace) -> int:
    from penstock_server.key_places import KeyRequest

    name = arguments.name.strip()
    if not 0 < len(name) <= _MAX_NAME_CHARS:
        raise Rejected(
            f"--name must have 1 to {_MAX_NAME_CHARS} characters", code=CommandCode.BAD_ARGUMENT
        )
    expires_at = parse_expiry(arguments.expires, time.time()) if arguments.expires else 0
    text = await place.create(
        KeyRequest(name, arguments.entity, _scopes(arguments.scopes), expires_at)
    )
    sys.stderr.write("This key is shown only once:\n")
    _say(text)
    return 0


async def _revoke(place: KeyPlace, arguments: argparse.Namespace) -> int:
    keys = await place.keys()
    found = {key.id: key for key in (matching(keys, given) for given in arguments.ids)}
    await place.revoke([key.id for key in found.values() if not key.revoked])
    for key in found.values():
        done = "was already revoked" if key.revoked else "was revoked"
        _say(f"{key.id} ({key.name}) {done}.")
    _say("Servers will reject it, its sessions and its signed URLs within 30 seconds.")
    return 0


def matching(keys: Sequence[KeyRow], given: str) -> KeyRow:
    """The key whose id equals or starts with the given text; a whole key stands for its id.

    Raises `Rejected` if there is none or more than one.
    """
    whole = _PREFIX.fullmatch(given)
    wanted = whole[1] if whole is not None else given
    found = [key for key in keys if key.id == wanted] or [
        key for key in keys if wanted and key.id.startswith(wanted)
    ]
    if len(found) == 1:
        return found[0]
    # The text may be a secret: do not repeat it.
    raise Rejected(
        "there is no API key with this id"
        if not found
        else "several API keys have ids with this prefix",
        code=ErrorCode.NOT_FOUND if not found else CommandCode.AMBIGUOUS,
        hint="`penstock key list` shows the ids.",
    )


def parse_expiry(text: str, now_s: float) -> int:
    """`12h`, `90d`, `8w` from now, or a date (its start, UTC), in µs since 1970.

    Raises `Rejected` for anything else and for times in the past.
    """
    now = datetime.fromtimestamp(now_s, UTC)
    try:
        if age := _AGE.fullmatch(text.strip().lower()):
            ends = now + timedelta(**{_UNITS[age[2]]: int(age[1])})
        else:
            ends = datetime.fromisoformat(text.strip())
            ends = ends if ends.tzinfo is not None else ends.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Rejected(
            f"--expires {text!r} is neither a duration nor a date",
            code=CommandCode.BAD_ARGUMENT,
            hint="Write 12h, 90d, 8w or a date such as 2027-01-31.",
        ) from None
    if ends <= now:
        raise Rejected(f"--expires {text!r} is in the past", code=CommandCode.BAD_ARGUMENT)
    return int(ends.timestamp() * 1e6)


def _scopes(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    scopes = frozenset(each.strip() for each in text.split(","))
    if not scopes or not scopes <= set(_SCOPES):
        raise Rejected(
            f"--scopes must be any of {', '.join(_SCOPES)}", code=CommandCode.BAD_ARGUMENT
        )
    return scopes


def _fields(key: KeyRow) -> dict[str, Any]:
    times = {name: getattr(key, name) for name in ("created_at", "last_used_at", "expires_at")}
    return {
        "id": key.id,
        "name": key.name,
        "entity": key.entity,
        "scopes": sorted(key.scopes),
        **{name: micros / 1e6 if micros else None for name, micros in times.items()},
        "revoked": key.revoked,
    }


def _cells(key: KeyRow) -> tuple[str, ...]:
    expired = 0 < key.expires_at <= time.time() * 1e6
    state = "revoked" if key.revoked else "expired" if expired else "active"
    return (
        key.id,
        key.name or "-",
        key.entity,
        ",".join(sorted(key.scopes)),
        _time(key.created_at),
        _time(key.last_used_at),
        _time(key.expires_at),
        state,
    )


def _time(micros: int) -> str:
    if not micros:
        return "never"
    return datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


_ACTIONS = {"list": _list, "create": _create, "revoke": _revoke}
