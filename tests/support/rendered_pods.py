"""Rendered pods as processes: their arguments and environment, on a file system that is read-only but for their
volumes, as a user that nobody knows. What a cluster adds is left out; ports are free ones."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from support.chart import ROOT, Object, Workload

__all__ = ["GROUP", "USER", "Pod", "own_volume", "why_no_pods"]

USER, GROUP = 1_000_660_000, 10_001
"""A user as OpenShift assigns them, and the group that owns volumes."""
_MOUNTS = """
set -e
for each in "$@"; do [ "$each" = -- ] && break; mount --bind "$each" "$each"; done
findmnt --raw --noheadings --output TARGET | while read -r target; do
  for each in "$@"; do [ "$target" = "$each" ] && continue 2; done
  mount -o remount,bind,ro "$target" 2>/dev/null || true
done
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


def why_no_pods() -> str:
    """Why pods can't be started here; empty if they can."""
    for program in ("unshare", "setpriv", "findmnt", "mount"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if os.geteuid() != 0:
        return "mounting needs root"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        return "mount namespaces are not allowed here"
    return ""


def own_volume(path: Path) -> Path:
    """An empty volume as the kubelet hands it over: root's, and open to the pod's group."""
    path.mkdir(parents=True)
    os.chown(path, 0, GROUP)
    path.chmod(0o2775)
    return path


@dataclass
class Pod:
    """One container of a workload. `volumes` are folders by mount path; `changed` replaces variables."""

    workload: Workload
    config_maps: Mapping[str, Mapping[str, str]]
    volumes: Mapping[str, Path]
    ports: Mapping[str, int]
    changed: Mapping[str, str] = field(default_factory=dict)
    user: int = USER
    process: subprocess.Popen[bytes] | None = None

    def environ(self) -> dict[str, str]:
        """Its variables, with its volumes' folders and its ports."""
        container = self.workload.container
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            if "configMapRef" in source:
                found |= self.config_maps[source["configMapRef"]["name"]]
        for each in container["env"]:
            if "value" in each:
                found[each["name"]] = each["value"]
            elif "fieldRef" in each["valueFrom"]:
                found[each["name"]] = f"{self.workload.name}-0"
        found = {name: self._here(text) for name, text in found.items()}
        return {
            **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(self.volumes["/tmp"]),
            **found,
            "PENSTOCK_METRICS_LISTEN": f"[::]:{self.ports['metrics']}",
            **({"PENSTOCK_PORT": str(self.ports["http"])} if "PENSTOCK_PORT" in found else {}),
            **self.changed,
        }

    def _here(self, text: str) -> str:
        """A path on a volume, where the volume is."""
        mounts = "|".join(re.escape(mount) for mount in sorted(self.volumes, reverse=True))
        found = re.fullmatch(rf"((?:--[\w-]+=)?)({mounts})((?:/.*)?)", text)
        return f"{found[1]}{self.volumes[found[2]]}{found[3]}" if found else text

    def command(self, *arguments: str) -> list[str]:
        """A command as the container runs it."""
        folders = sorted({str(path) for path in self.volumes.values()})
        return [
            "unshare", "--mount", "--propagation", "private", "bash", "-c", _MOUNTS, "pod", *folders, "--",
            # It may read what only root may, since the interpreter may be root's; it may not write it.
            "setpriv", f"--reuid={self.user}", f"--regid={GROUP}", "--clear-groups", "--no-new-privs",
            "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search",
            "--bounding-set=-all,+dac_read_search", sys.executable, "-m", "penstock.cli", *arguments,
        ]  # fmt: skip

    def arguments(self) -> list[str]:
        """The container's arguments."""
        own = {
            "--port=8080": f"--port={self.ports.get('http')}",
            "--port=8123": f"--port={self.ports.get('clickhouse')}",
        }
        return [own.get(each, self._here(each)) for each in self.workload.container["args"]]

    def start(self) -> None:
        """Start it; what it prints goes to this process's output."""
        self.process = subprocess.Popen(
            self.command(*self.arguments()), env=self.environ(), cwd=ROOT
        )

    def run(self, *arguments: str) -> str:
        """`kubectl exec`: the output of a command in it."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environ(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def probe(self, kind: str) -> int:
        """The status that a rendered probe gets; 0 if there is no answer."""
        asked: Object = self.workload.container[kind]["httpGet"]
        try:
            with urlopen(
                f"http://127.0.0.1:{self.ports[asked['port']]}{asked['path']}", timeout=5
            ) as reply:
                return int(reply.status)
        except HTTPError as error:
            return error.code
        except (URLError, OSError):
            return 0

    def wait(self, kind: str, status: int = 200, timeout_s: float = 90.0) -> None:
        """Until a probe gets this status."""
        assert self.process is not None
        deadline = time.monotonic() + timeout_s
        while (found := self.probe(kind)) != status:
            assert self.process.poll() is None, f"{self.workload.name} ended"
            assert time.monotonic() < deadline, f"{self.workload.name}: {kind} got {found}"
            time.sleep(0.2)

    def stop(self) -> int:
        """SIGTERM, and the exit status; it has the grace period to end."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(self.workload.pod["terminationGracePeriodSeconds"])
        finally:
            self.kill()

    def kill(self) -> None:
        """End it, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
