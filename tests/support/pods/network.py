"""Hosts with addresses of their own, in network namespaces, and a router between them that can lose packets.

    pod a ── router ── pod b        each link is a veth pair with a /30 network
                │
            this process

A packet between two hosts that were cut off from each other vanishes in the router: nobody refuses it, as in
a network whose switch, or whose node, died.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import pytest

__all__ = ["Host", "Network", "network"]

_MAX_HOSTS = 62


@dataclass(frozen=True)
class Host:
    """A network namespace with one address. `enter` is the command that starts another one in it."""

    namespace: str
    address: str

    @property
    def enter(self) -> list[str]:
        return ["ip", "netns", "exec", self.namespace]


class Network:
    """Use `network`."""

    def __init__(self) -> None:
        self._name = f"ps{secrets.token_hex(3)}"
        # One of 16,384 networks that nobody is likely to have a route to.
        first, second = 64 + secrets.randbelow(64), secrets.randbelow(256)
        self._prefix = f"10.{first}.{second}"
        self._namespaces: list[str] = []
        self._links = 0
        self._router = self._namespace("r")
        _run("ip", "netns", "exec", self._router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        outer, here = f"{self._name}h", self._link_to_router("")
        self.here = here
        """The address of this process."""
        _run("ip", "route", "add", f"{self._prefix}.0/24", "via", self._gateway_of(here))
        self._outer = outer

    def host(self, name: str) -> Host:
        """A new host; names are for people."""
        namespace = self._namespace(f"{self._links}{name[:6]}")
        return Host(namespace, self._link_to_router(namespace))

    def cut(self, one: Host, other: Host) -> None:
        """Lose every packet between these two."""
        self._lose("add", one.address, other.address)
        self._lose("add", other.address, one.address)

    def heal(self, one: Host, other: Host) -> None:
        """Undo `cut`."""
        self._lose("del", one.address, other.address)
        self._lose("del", other.address, one.address)

    def isolate(self, host: Host) -> None:
        """Lose every packet of this host."""
        self._lose("add", host.address, "0.0.0.0/0")
        self._lose("add", "0.0.0.0/0", host.address)

    def rejoin(self, host: Host) -> None:
        """Undo `isolate`."""
        self._lose("del", host.address, "0.0.0.0/0")
        self._lose("del", "0.0.0.0/0", host.address)

    def close(self) -> None:
        """Remove everything; processes in the namespaces must have ended."""
        for namespace in self._namespaces:
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)
        # Its other end went with the router's namespace, and with both the route.
        subprocess.run(["ip", "link", "del", self._outer], check=False, capture_output=True)

    def _lose(self, verb: str, source: str, target: str) -> None:
        # Rules without a priority would be found in another order than they were made, which does not matter.
        _run("ip", "-n", self._router, "rule", verb, "from", source, "to", target, "blackhole")

    def _namespace(self, name: str) -> str:
        namespace = f"{self._name}-{name}"
        _run("ip", "netns", "add", namespace)
        self._namespaces.append(namespace)
        _run("ip", "-n", namespace, "link", "set", "lo", "up")
        return namespace

    def _link_to_router(self, namespace: str) -> str:
        """A link to the router, from this namespace or ('') from ours; returns our end's address."""
        number, self._links = self._links, self._links + 1
        assert number < _MAX_HOSTS
        theirs, router = f"{self._prefix}.{4 * number + 2}", f"{self._prefix}.{4 * number + 1}"
        ours, outside = ["-n", self._router], ["-n", namespace] if namespace else []
        end = "eth0" if namespace else f"{self._name}h"
        _run("ip", *ours, "link", "add", f"p{number}", "type", "veth", "peer", "name", end)
        where = namespace or str(os.getpid())
        _run("ip", *ours, "link", "set", end, "netns", where)
        _run("ip", *ours, "address", "add", f"{router}/30", "dev", f"p{number}")
        _run("ip", *ours, "link", "set", f"p{number}", "up")
        _run("ip", *outside, "address", "add", f"{theirs}/30", "dev", end)
        _run("ip", *outside, "link", "set", end, "up")
        if namespace:
            _run("ip", *outside, "route", "add", "default", "via", router)
        return theirs

    @staticmethod
    def _gateway_of(address: str) -> str:
        prefix, _, last = address.rpartition(".")
        return f"{prefix}.{int(last) - 1}"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"


@cache
def _why_none() -> str:
    """Why there can be no network namespaces here, or ''."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "unshare", "sysctl"):
        if shutil.which(program) is None:
            return f"there is no {program} command"
    name = f"ps-try-{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"network namespaces cannot be made here: {done.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    return ""


@contextmanager
def network() -> Iterator[Network]:
    """A network without hosts; skips the test where there can be none."""
    if reason := _why_none():
        pytest.skip(reason)
    made = Network()
    try:
        yield made
    finally:
        made.close()
