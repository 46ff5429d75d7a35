"""Networks between network namespaces: one namespace per service, one with a bridge per network.

Services see each other only on networks that they share, by name, as containers do; a published port
is reached at an address of its own, from this machine only. Needs root. Nothing of the machine's own
network changes, apart from one interface per service that publishes ports.
"""

from __future__ import annotations

import itertools
import os
import secrets
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

from benchmarks.compose.model import Service, ServiceNetwork

__all__ = ["Networks", "Place"]

_PRIVATE = "10.89.{}.0/24"
_PUBLISHED = "10.88.{}.{}/30"


@dataclass(slots=True)
class Place:
    """A service's namespace, the file with the names that it can resolve, its address in each network, and
    the one at which its published ports are."""

    namespace: str
    hosts: Path
    addresses: dict[str, str] = field(default_factory=dict)
    published: str = ""


class Networks:
    """Creates the networks of a compose file; `close` removes everything."""

    def __init__(self, folder: Path, networks: Mapping[str, ServiceNetwork]) -> None:
        self._folder = folder
        self._id = f"{os.getpid():x}{secrets.token_hex(2)}"
        self._switch = f"pc{self._id}-switch"
        self._bridges: dict[str, str] = {}
        self._free: dict[str, Iterable[int]] = {}
        self._subnets: dict[str, IPv4Network] = {}
        self._places: dict[str, Place] = {}
        self._links = itertools.count()
        _ip(f"netns add {self._switch}")
        lines = ["link set lo up"]
        for number, network in enumerate(networks.values()):
            bridge = f"br{number}"
            self._bridges[network.name] = bridge
            self._subnets[network.name] = IPv4Network(network.subnet or _PRIVATE.format(number))
            self._free[network.name] = itertools.count(2)
            lines += [f"link add {bridge} type bridge", f"link set {bridge} up"]
        _ip(*lines, namespace=self._switch)

    def add(self, service: Service) -> Place:
        """A namespace with new addresses: a container that is made again has others than before."""
        self.remove(service.name)
        namespace = f"pc{self._id}-{service.name}"
        hosts = self._folder / f"{service.name}.hosts"
        hosts.touch()
        place = Place(namespace, hosts)
        _ip(f"netns add {namespace}")
        self._places[service.name] = place
        outside, switch, inside = [], [], ["link set lo up"]
        for number, network in enumerate(service.networks):
            link, end = f"v{next(self._links)}", f"eth{number}"
            subnet = self._subnets[network]
            address = str(subnet[next(iter(self._free[network]))])
            place.addresses[network] = address
            outside.append(
                f"link add {link} netns {self._switch} type veth peer name {end} netns {namespace}"
            )
            switch += [f"link set {link} master {self._bridges[network]}", f"link set {link} up"]
            inside += [f"addr add {address}/{subnet.prefixlen} dev {end}", f"link set {end} up"]
        if service.ports:
            here, there = _free_pair()
            link = f"p{self._id}{next(self._links)}"[:15]
            place.published = there.partition("/")[0]
            outside += [
                f"link add {link} type veth peer name pub0 netns {namespace}",
                f"addr add {here} dev {link}",
                f"link set {link} up",
            ]
            inside += [f"addr add {there} dev pub0", "link set pub0 up"]
        _ip(*outside)
        _ip(*switch, namespace=self._switch)
        _ip(*inside, namespace=namespace)
        self._tell_names()
        return place

    def remove(self, name: str) -> None:
        """Delete a service's namespace, with its interfaces."""
        place = self._places.pop(name, None)
        if place is not None:
            _ip(f"netns del {place.namespace}")
            self._tell_names()

    def close(self) -> None:
        for name in list(self._places):
            self.remove(name)
        with suppress(subprocess.CalledProcessError):
            _ip(f"netns del {self._switch}")

    def _tell_names(self) -> None:
        """Each hosts file in place, since it is mounted."""
        for mine in self._places.values():
            lines = ["127.0.0.1 localhost"]
            for name, other in self._places.items():
                shared = [network for network in mine.addresses if network in other.addresses]
                if shared:
                    lines.append(f"{other.addresses[shared[0]]} {name}")
            mine.hosts.write_text("\n".join(lines) + "\n")


def _free_pair() -> tuple[str, str]:
    """Two addresses of a network of two that no interface here has."""
    taken = subprocess.run(
        ["ip", "-o", "-4", "addr"], capture_output=True, text=True, check=True
    ).stdout
    while True:
        third, fourth = secrets.randbelow(256), 4 * secrets.randbelow(64)
        if f" 10.88.{third}." not in taken:
            return _PUBLISHED.format(third, fourth + 1), _PUBLISHED.format(third, fourth + 2)


def _ip(*lines: str, namespace: str = "") -> None:
    """Commands of `ip`, together."""
    if lines:
        where = ["-n", namespace] if namespace else []
        subprocess.run(
            ["ip", *where, "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True,
            capture_output=True,
        )  # fmt: skip
