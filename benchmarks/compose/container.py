"""One service as a process: in its namespace, in a file system that is this machine's with the service's
volumes in their places, as its user, without capabilities."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.compose import names
from benchmarks.compose.model import Mount, Service
from benchmarks.compose.network import Place
from benchmarks.compose.software import arguments_of, environ_of, needed_paths

__all__ = ["Container"]

_ONCE_S = 60.0


class Container:
    """A running service. Start it from a thread that lives on: its end is this thread's, too."""

    def __init__(
        self, service: Service, place: Place, folder: Path, volumes: Mapping[str, Path]
    ) -> None:
        """`folder`: for its log and its file system."""
        self.service = service
        self.place = place
        self.log = folder / f"{service.name}.log"
        patience_s = service.health.patience_s if service.health is not None else _ONCE_S
        self.deadline = time.monotonic() + patience_s
        """When it should be healthy at the latest."""
        self._is_stopping = False
        self._environ = environ_of(service)
        self._resolver: subprocess.Popen[bytes] | None = None
        root = folder / f"{service.name}.root"
        root.mkdir(exist_ok=True)
        script = _script(service, place, root, volumes)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{place.namespace}", "unshare", "--mount",
                 "--propagation", "private", "sh", "-euc", script],
                env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        if service.software == "haproxy":  # the only one here that asks a name server
            self._resolver = self._start_resolver()

    def run(
        self, command: Sequence[str], timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """`docker compose exec`: a command beside the service, as its user and with its variables."""
        return subprocess.run(
            ["nsenter", "--target", str(self.process.pid), "--mount", "--net", "--root", "--wd=/",
             *_as_user(self.service), *command],
            env=self._environ, capture_output=True, text=True, timeout=timeout_s,
        )  # fmt: skip

    def is_healthy(self) -> bool:
        """Whether its health check passes. Raises `RuntimeError` if the service has ended."""
        health = self.service.health
        if self.process.poll() is not None:
            raise RuntimeError(
                f"{self.service.name} ended with {self.process.returncode}: {self.tail()}"
            )
        if health is None:
            return True
        with suppress(subprocess.TimeoutExpired):
            # Longer than in the file: a busy machine is no sick service.
            return self.run(health.command, health.timeout_s * 3).returncode == 0
        return False

    def signal_stop(self) -> None:
        """Ask it to end."""
        if self.process.poll() is None and not self._is_stopping:
            self._is_stopping = True
            self.process.send_signal(signal.Signals[self.service.stop_signal])

    def stop(self) -> int:
        """Its exit status after its stop signal; `-9` if its grace period was not enough."""
        self.signal_stop()
        try:
            status = self.process.wait(self.service.stop_grace_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.kill()
        return status

    def kill(self) -> None:
        """End it and whatever it left behind."""
        for process in (self.process, self._resolver):
            if process is not None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._resolver = None

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2000:]

    def _start_resolver(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.place.namespace}", sys.executable,
             names.__file__, str(self.place.hosts)],
            start_new_session=True,
        )  # fmt: skip


def _script(service: Service, place: Place, root: Path, volumes: Mapping[str, Path]) -> str:
    """Builds the file system in this process's own mount namespace, then becomes the service."""
    uid, gid = service.user
    lines = [
        f"w={shlex.quote(str(root))}; r=$w/root",
        'mount -t tmpfs -o mode=755 tmpfs "$w"',
        'mkdir "$w/upper" "$w/work" "$w/root"',
        'mount -t overlay -o "lowerdir=/,upperdir=$w/upper,workdir=$w/work" overlay "$r"',
        'mount -t proc proc "$r/proc"',
        'mount --rbind /sys "$r/sys"',
        'mount --rbind /dev "$r/dev"',
        # Images have their own users; and their code can be read by all.
        f'echo "service:x:{uid}:{gid}::/tmp:/bin/sh" >> "$r/etc/passwd"',
        *(f'chmod go+x "$r{each}"' for each in _private_folders()),
        'rm -f "$r/etc/resolv.conf"; echo "nameserver 127.0.0.11" > "$r/etc/resolv.conf"',
        'echo "hosts: files" > "$r/etc/nsswitch.conf"',
        f'mount --bind {shlex.quote(str(place.hosts))} "$r/etc/hosts"',
    ]
    for mount in service.mounts:
        lines += _mount_lines(mount, volumes)
    if service.is_read_only:
        lines.append('mount -o remount,bind,ro "$r"')
    lines.append(f"ulimit -n {service.open_files} 2>/dev/null || ulimit -n $(ulimit -Hn)")
    words = [*_as_user(service), *arguments_of(service)]
    lines.append(f'exec chroot "$r" {shlex.join(words)}')
    return "\n".join(lines)


def _mount_lines(mount: Mount, volumes: Mapping[str, Path]) -> list[str]:
    # Links are followed here: an absolute one would lead out of the new root.
    path = Path(mount.target).resolve()
    target = f'"$r{path}"'
    if mount.kind == "tmpfs":
        options = f"-o {mount.options}" if mount.options else ""
        hidden = [each for each in needed_paths() if each.is_relative_to(path)]
        return [
            f"mkdir -p {target}; mount -t tmpfs {options} tmpfs {target}",
            *(
                f'mkdir -p "$r{each}"; mount --rbind {shlex.quote(str(each))} "$r{each}"'
                for each in hidden
            ),
        ]
    source = volumes[mount.source] if mount.kind == "volume" else Path(mount.source)
    where = path.parent if source.is_file() else path
    lines = [f'mkdir -p "$r{where}"']
    if source.is_file():
        lines.append(f"[ -e {target} ] || touch {target}")
    lines.append(f"mount --bind {shlex.quote(str(source))} {target}")
    if mount.is_read_only:
        lines.append(f"mount -o remount,bind,ro {target}")
    return lines


def _as_user(service: Service) -> list[str]:
    uid, gid = service.user
    kept = "".join(f",+{each.lower()}" for each in service.capabilities)
    return [
        "setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs",
        f"--bounding-set=-all{kept}", "--inh-caps=-all", "--pdeathsig=KILL",
    ]  # fmt: skip


def _private_folders() -> list[Path]:
    """Folders above the code and the interpreter that not everyone may enter."""
    above = {parent for each in needed_paths() for parent in (each, *each.parents)}
    return sorted(each for each in above if each.stat().st_mode & 0o011 != 0o011)
