"""What stands in for each image on this machine: the program that its entry point starts.

Two are not what the file names. The entry point of PostgreSQL's image is a script that creates the
database; `POSTGRES` does the same with the machine's own PostgreSQL. There is no ClickHouse server:
run `compose.store.yaml` as well, which puts Penstock's own store in its place.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.compose.model import Service

__all__ = ["PATH", "ROOT", "arguments_of", "environ_of", "missing_programs", "needed_paths"]

ROOT = Path(__file__).parents[2]
_PENSTOCK_PACKAGES = (
    "client", "common", "compat", "ingest", "server", "storage", "sweeps", "web", "workers",
)  # fmt: skip

_POSTGRES = """
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    printf %s "$POSTGRES_PASSWORD" > /tmp/password
    initdb -D "$PGDATA" -U "$POSTGRES_USER" -A scram-sha-256 --pwfile=/tmp/password $POSTGRES_INITDB_ARGS
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -D "$PGDATA" postgres
fi
exec "$@"
"""
_ENTRY_POINTS: dict[str, list[str]] = {
    "penstock": ["penstock"],
    "haproxy": [],
    "redis": [],
    "postgres": ["sh", "-c", _POSTGRES, "postgres"],
    "seaweedfs": ["weed"],
    "prometheus": ["prometheus"],
}
_PROGRAMS = {
    "penstock": "penstock",
    "haproxy": "haproxy",
    "redis": "redis-server",
    "postgres": "postgres",
    "seaweedfs": "weed",
    "prometheus": "prometheus",
}


def _path() -> str:
    newest = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: float(each.parent.name)
    )
    folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    # Debian's own before those of the environment: a redis-server from a wheel is an old one.
    return ":".join([*map(str, reversed(newest)), *folders, str(Path(sys.executable).parent)])


PATH = _path()


def missing_programs(services: Iterable[Service]) -> list[str]:
    """The services whose software this machine lacks."""
    return sorted(
        service.name
        for service in services
        if (program := _PROGRAMS.get(service.software)) is None
        or shutil.which(program, path=PATH) is None
    )


def arguments_of(service: Service) -> list[str]:
    """The command line of a service."""
    return [*(service.entrypoint or _ENTRY_POINTS[service.software]), *service.command]


def environ_of(service: Service) -> dict[str, str]:
    """Its variables: those of the file, and what an image has besides."""
    path = PATH
    own = {"PATH": path, "HOME": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108 (a tmpfs of its own)
    if service.software == "penstock":
        # An image has one python; here that of the environment comes first.
        own["PATH"] = f"{Path(sys.executable).parent}:{path}"
        own["PYTHONPATH"] = os.pathsep.join(str(ROOT / each) for each in _PENSTOCK_PACKAGES)
        own["PYTHONDONTWRITEBYTECODE"] = "1"
    return {**own, **service.environ}


def needed_paths() -> list[Path]:
    """What has to be readable for every user and stay visible below a tmpfs: code and interpreter."""
    found = {
        ROOT,
        Path(sys.prefix),
        Path(sys.base_prefix),
        Path(sys.executable).resolve().parents[1],
    }
    return sorted(found)
