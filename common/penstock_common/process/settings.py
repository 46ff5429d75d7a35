"""Settings of the server processes: one frozen dataclass each, created once when a process starts.

Every field can come from the environment, as `PENSTOCK_` and the field's name in capitals; a setting's old
name works for one release, with a warning. Nothing else reads the environment.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from penstock.command_codes import CommandCode
from penstock.errors import Rejected
from penstock_common.process.bounds import DEFAULT_BOUNDS, Bounds

__all__ = ["GatewaySettings", "ServerSettings", "WorkerSettings", "load", "option"]

SettingsT = TypeVar("SettingsT", bound="ServerSettings")
_LOG = logging.getLogger(__name__)
_KINDS: dict[type, str] = {bool: "0 or 1", int: "an integer", float: "a number"}


def option(default: Any, help_text: str, *, secret: bool = False, old_name: str = "") -> Any:
    """A settings field with its one-line help; `secret` keeps it out of every printout. `old_name` is
    what the last release called it."""
    metadata = {"help": help_text, "secret": secret, "old_name": old_name}
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Addresses of the stores, and secrets that all processes share."""

    redis_url: str = option("redis://127.0.0.1:6379/0", "queue: redis:// or unix:// URL")
    store_url: str = option("http://127.0.0.1:8123", "points: ClickHouse HTTP or unix:// URL")
    store_token: str = option("", "password for the point store", secret=True)
    catalog_url: str = option("sqlite+aiosqlite:///catalog.db", "catalog: SQLAlchemy URL")
    blobs_url: str = option("file:///var/lib/penstock/blobs", "blobs: file://, s3://, gs://, az://")
    secret: str = option("", "key that hashes API keys and signs sessions", secret=True)
    prefix: str = option("penstock", "first part of every Redis key")
    default_entity: str = option("local", "entity of the first API key")
    patience_s: float = option(
        15.0, "silence after which a part counts as hung and is replaced; 0: never"
    )
    disk_low_bytes: int = option(
        2**30, "free disk space below which a problem is reported; a tenth of the disk, if less"
    )
    log_level: str = option("INFO", "DEBUG, INFO, WARNING or ERROR")
    metrics_socket: str = option("", "unix socket on which this process serves its metrics")
    metrics_listen: str = option("", "host:port on which this process serves its metrics")
    runs_per_entity: int = option(DEFAULT_BOUNDS.runs_per_entity, "runs that an entity may have")
    runs_per_project: int = option(DEFAULT_BOUNDS.runs_per_project, "runs that a project may have")
    writers_per_entity: int = option(
        DEFAULT_BOUNDS.writers_per_entity, "writers that an entity's runs may have together"
    )
    writers_per_run: int = option(
        DEFAULT_BOUNDS.writers_per_run,
        "writers (processes that log) that a run may have; at most 65,536",
    )
    keys_per_project: int = option(
        DEFAULT_BOUNDS.keys_per_project, "metric names that a project's runs may have together"
    )
    keys_per_run: int = option(DEFAULT_BOUNDS.keys_per_run, "metric names that a run may have")

    @property
    def secrets(self) -> list[str]:
        """The values of secret settings, which must not appear in logs."""
        return [getattr(self, each.name) for each in fields(self) if each.metadata["secret"]]

    @property
    def bounds(self) -> Bounds:
        """The bounds on runs, writers and keys."""
        return Bounds(**{each.name: getattr(self, each.name) for each in fields(Bounds)})


@dataclass(frozen=True, kw_only=True)
class GatewaySettings(ServerSettings):
    """One gateway process, which also serves the read API and the page."""

    host: str = option("127.0.0.1", "address to listen on")
    port: int = option(8080, "port to listen on; several gateways may share it")
    serves: str = option("all", "write (batches), read (API and page), or all")
    root_path: str = option("", "path prefix behind a proxy, e.g. /penstock")
    require_login: bool = option(False, "ask for a key even where reading is open on loopback")
    trusted_proxies: str = option(
        "", "proxies whose X-Forwarded-* count: addresses or networks, comma-separated"
    )
    metrics_peers: str = option("", "folder of metrics sockets that /metrics adds up")
    upload_bytes: int = option(64 * 2**30, "largest file that may be uploaded")
    connections: int = option(10_000, "connections held at once; more are answered 503 and closed")
    header_timeout_s: float = option(10.0, "time for a new connection to send a request's head")
    body_timeout_s: float = option(10.0, "time for a body to arrive, plus 1 s per 128 KiB")
    bodies_in_flight_bytes: int = option(64 * 2**20, "bodies held at once; more are answered 503")
    decoded_in_flight_bytes: int = option(
        512 * 2**20, "decoded batches held at once; more are answered 503"
    )
    queue_timeout_s: float = option(1.0, "how long an append to Redis may take")
    backlog_bytes: int = option(
        2 * 2**30, "Redis memory above which batches are answered 503; one shard may take half"
    )
    volatile_queue: bool = option(False, "accept a Redis that may lose or evict queued batches")
    project_points_per_s: float = option(
        0.0, "points per second that one project may send to one gateway; 0: no limit"
    )
    sweep_lease_s: float = option(
        60.0, "silence after which a trial whose run has not begun goes to another agent"
    )
    pre_stop_s: float = option(0.0, "how long to keep serving after SIGTERM while not ready")
    drain_s: float = option(3.0, "how long open requests may take at shutdown")


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(ServerSettings):
    """One worker process."""

    worker_name: str = option("", "name that no other live worker has; random if not given")
    worker_folder: str = option(
        "",
        "folder in which this machine's workers note what they work on: after a crash, the batch to blame"
        " need not be searched for",
    )
    commit_points: int = option(1_000_000, "points per commit at most")
    commit_bytes: int = option(32 * 2**20, "bytes of queue entries per commit at most")
    commit_interval_s: float = option(
        0.25, "how long a commit may gather when batches trickle in and somebody reads or waits"
    )
    commit_rest_s: float = option(
        5.0, "how long batches may wait for a commit while nobody reads or waits; at most 5 s"
    )
    lease_s: float = option(10.0, "how long a shard stays with a worker that has gone silent")
    poll_s: float = option(0.1, "pause between reads of empty streams while somebody reads")
    max_deliveries: int = option(5, "failures after which a batch becomes a dead letter")
    batch_timeout_s: float = option(
        20.0,
        "time for one batch of a commit, at most 10 s for a single one; then the worker exits",
    )
    silent_after_s: float = option(300.0, "silence after which a running run counts as crashed")
    purge_until_s: float = option(
        86_400.0, "how long to keep checking for late rows of a deleted run",
        old_name="sweep_until_s",
    )  # fmt: skip
    drain_s: float = option(4.0, "how long the commit in hand may take at shutdown")


def load(kind: type[SettingsT], *, environ: Mapping[str, str]) -> SettingsT:
    """Settings from the environment, with defaults for the others.

    Raises `Rejected` with the name of a setting that does not fit its type.
    """
    values: dict[str, Any] = {}
    for each in fields(kind):
        name, old_name = each.name, each.metadata["old_name"]
        text = environ.get(_variable(name))
        if text is None and old_name and _variable(old_name) in environ:
            text = environ[_variable(old_name)]
            _warn_renamed(_variable(old_name), _variable(name))
        if text is not None:
            values[name] = _parse(name, each.default, text)
    return kind(**values)


def _variable(name: str) -> str:
    return f"PENSTOCK_{name.upper()}"


def _warn_renamed(old: str, new: str) -> None:
    _LOG.warning("setting_renamed old=%s new=%s: the old name goes in the next release", old, new)


def _parse(name: str, default: object, text: str) -> object:
    try:
        if isinstance(default, bool):
            return {"1": True, "true": True, "0": False, "false": False}[text.lower()]
        if isinstance(default, int | float):
            return type(default)(text)
    except (KeyError, ValueError):
        raise Rejected(
            f"{_variable(name)} must be {_KINDS[type(default)]}, not {text!r}",
            code=CommandCode.BAD_SETTINGS,
        ) from None
    return text
