"""A node on which training containers run: scripts in pid, mount and host name namespaces of their own, as any
user, with volumes that outlive them and a network that can be cut.

The first process of a container is the script itself. When it ends, or is killed, the kernel kills everything
else in the container, the shipper too: as when a kubelet or Slurm ends one.
"""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.up import wait_until

__all__ = ["Container", "Network", "Node", "new_network", "new_node"]

_END_S = 60.0
_numbers = itertools.count()


@dataclass
class Container:
    """A script in its namespaces. `process` is outside: its exit status is the script's."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def first(self) -> int:
        """The id of the container's first process, as the node has it."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        wait_until(lambda: self.process.poll() is not None or children.read_text().split())
        return int(children.read_text().split()[0])

    def processes(self) -> list[int]:
        """Every process in it, as the node numbers them."""
        namespace = Path(f"/proc/{self.first}/ns/pid").readlink()
        found = []
        for folder in Path("/proc").iterdir():
            with suppress(OSError):
                if folder.name.isdigit() and (folder / "ns/pid").readlink() == namespace:
                    found.append(int(folder.name))
        return found

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def until_said(self, text: str) -> None:
        def has_said() -> bool:
            assert self.process.poll() is None or text in self.said(), self.said()
            return text in self.said()

        wait_until(has_said, _END_S)

    def terminate(self) -> None:
        """SIGTERM to the first process alone, as a kubelet sends it."""
        os.kill(self.first, signal.SIGTERM)

    def signal_all(self, number: signal.Signals) -> None:
        """To every process, as Slurm sends it to a job."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> int:
        """-9 of everything in it; returns the exit status."""
        if self.process.poll() is None:
            with suppress(ProcessLookupError, IndexError):
                os.kill(self.first, signal.SIGKILL)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(_END_S)


@dataclass
class Network:
    """A network namespace whose only way out is to `address`, which is the test's machine."""

    name: str
    address: str

    def cut(self) -> None:
        _run("ip", "-n", self.name, "link", "set", "eth0", "down")

    def repair(self) -> None:
        _run("ip", "-n", self.name, "link", "set", "eth0", "up")


@dataclass
class Node:
    """`folder` has its volumes; `network` is None for that of the machine itself."""

    folder: Path
    environ: Mapping[str, str]
    network: Network | None = None
    containers: list[Container] = field(default_factory=list)

    def volume(self, name: str, uid: int | None = None) -> Path:
        """A folder that outlives its containers, for all users as /var/tmp is, or of one."""
        path = self.folder / name
        if not path.exists():
            path.mkdir()
            path.chmod(0o1777 if uid is None else 0o700)
            if uid is not None:
                os.chown(path, uid, uid)
        return path

    def start(
        self,
        command: str | list[str],
        *,
        pod: str = "",
        uid: int = 1_000,
        is_read_only: bool = True,
        writable: tuple[Path, ...] = (),
        **environ: str,
    ) -> Container:
        """Start a script (text) or arguments of `python -m`. `pod` is its host name; it may write to
        `writable` and a /tmp of its own."""
        arguments = ["-c", command] if isinstance(command, str) else ["-m", *command]
        output = self.folder / f"output-{next(_numbers)}"
        steps = [*_reachable_python(), "mount -t tmpfs -o mode=1777 tmpfs /dev/shm"]
        if is_read_only:
            for each in writable:
                steps.append(f"mount --bind {each} {each}")
            steps.append("mount -o remount,bind,ro / /")
        if pod:
            steps.append(f"hostname {pod}")
        user = f"setpriv --reuid {uid} --regid {uid} --clear-groups --bounding-set -all --no-new-privs --"
        steps.append(f'exec {user if uid else ""} {sys.executable} "$@"')
        enter = (
            [] if self.network is None else ["nsenter", f"--net=/var/run/netns/{self.network.name}"]
        )
        with output.open("wb") as file:
            process = subprocess.Popen(
                [
                    *enter, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--uts",
                    "--mount", "--propagation", "private", "sh", "-ec", "; ".join(steps), "sh",
                    *arguments,
                ],
                env={**_plain_environment(), **self.environ, **environ},
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip
        container = Container(process, output)
        self.containers.append(container)
        return container

    def run(self, command: str | list[str], status: int = 0, **options: Any) -> str:
        """Run a container to its end; returns its output."""
        container = self.start(command, **options)
        assert container.wait() == status, container.said()
        return container.said()


@contextmanager
def new_node(environ: Mapping[str, str], network: Network | None = None) -> Iterator[Node]:
    """Skips the test without the right to make namespaces. Ends what is left at the end."""
    _need_namespaces()
    folder = Path(tempfile.mkdtemp(prefix="node-"))
    folder.chmod(0o755)
    node = Node(folder, environ, network)
    try:
        yield node
    finally:
        for container in node.containers:
            container.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_network() -> Iterator[Network]:
    """A network namespace with one cable to this machine."""
    _need_namespaces()
    token = secrets.token_hex(3)
    name, number = f"pst{token}", int(token[:4], 16)
    net = f"10.{200 + number % 50}.{number >> 8}"
    own = f"{net}.1"
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "address", "add", f"{own}/30", "dev", name)
        _run("ip", "link", "set", name, "up")
        _run("ip", "-n", name, "address", "add", f"{net}.2/30", "dev", "eth0")
        _run("ip", "-n", name, "link", "set", "lo", "up")
        _run("ip", "-n", name, "link", "set", "eth0", "up")
        yield Network(name, own)
    finally:
        _run("ip", "netns", "delete", name)


def _need_namespaces() -> None:
    if os.getuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "setpriv", "ip"))):
        pytest.skip("needs root, unshare, nsenter, setpriv and ip")
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "--uts", "true"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip(f"namespaces cannot be made here: {done.stderr.strip()}")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=20, capture_output=True)


def _plain_environment() -> dict[str, str]:
    kept = ("PATH", "PYTHONPATH")
    return {
        # Their rows, lines and spools would count among those of what is logged.
        "PENSTOCK_SYSTEM_METRICS": "off",
        "PENSTOCK_CONSOLE": "off",
        "PENSTOCK_FACTS": "off",
        **{name: os.environ[name] for name in kept if name in os.environ},
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/",
    }


def _reachable_python() -> list[str]:
    """Commands that let any user start this interpreter, even one in root's home."""
    prefix = Path(sys.base_prefix)
    hidden = next(
        (each for each in reversed(prefix.parents) if each.stat().st_mode & 0o005 != 0o005), None
    )
    if hidden is None:
        return []
    return [
        f"mount --bind {prefix} /mnt",
        f"mount -t tmpfs -o mode=755 tmpfs {hidden}",
        f"mkdir -p {prefix}",
        f"mount --bind /mnt {prefix}",
    ]
