"""A whole compose file: started in the order of its dependencies, each service once those that it needs
are healthy; stopped in the opposite order; its volumes stay for the next start."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from benchmarks.compose.container import Container
from benchmarks.compose.model import Service, load_model, load_services
from benchmarks.compose.network import Networks
from benchmarks.compose.software import missing_programs

__all__ = ["ComposeProject", "running_project", "why_no_compose"]

_PAUSE_S = 0.2
_TOOLS = ("docker-compose", "ip", "nsenter", "unshare", "setpriv", "chroot")


def why_no_compose(
    files: Sequence[Path] = (), env_file: Path | None = None, *, without: Collection[str] = ()
) -> str | None:
    """Why services cannot be run here, or None if they can."""
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"{missing[0]} is not installed"
    if (
        os.geteuid() != 0
        or subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True).returncode
    ):
        return "network namespaces need root"
    if files:
        services, _ = load_services(load_model(files, env_file))
        lacking = missing_programs(each for name, each in services.items() if name not in without)
        if lacking:
            return f"the software of {', '.join(lacking)} is not installed"
    return None


class ComposeProject:
    """The services of some compose files, run in `folder`, which keeps volumes and logs."""

    def __init__(
        self,
        folder: Path,
        files: Sequence[Path],
        env_file: Path | None = None,
        *,
        without: Collection[str] = (),
    ) -> None:
        """`without`: services that are left out, because their software is not here."""
        model = load_model(files, env_file)
        services, networks = load_services(model)
        self.services = {name: each for name, each in services.items() if name not in without}
        self._once = {
            needed
            for each in services.values()
            for needed, condition in each.depends_on.items()
            if condition == "service_completed_successfully"
        }
        self.containers: dict[str, Container] = {}
        self.order: list[str] = []
        """The services in the order in which they were started."""
        self.folder = folder
        self._volumes = {name: folder / "volumes" / name for name in model.get("volumes") or {}}
        for each in self._volumes.values():
            each.mkdir(parents=True, exist_ok=True)
        self._networks = Networks(folder, networks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for container in self.containers.values():
            container.kill()
        self._networks.close()

    def up(self) -> None:
        """Start everything that does not run, each as soon as what it needs is there, and wait until all of
        it is healthy."""
        waiting = {name: None for name in self.services if name not in self.containers}
        unwell = dict.fromkeys(self.services)
        while unwell:
            for name in list(waiting):
                if not any(each in unwell for each in self.services[name].depends_on):
                    del waiting[name]
                    self.start(name)
            for name in [each for each in unwell if each in self.containers]:
                if self._is_well(name):
                    del unwell[name]
            time.sleep(_PAUSE_S)

    def start(self, name: str) -> Container:
        """Start one service, at new addresses."""
        service = self.services[name]
        self._give_volumes(service)
        container = Container(service, self._networks.add(service), self.folder, self._volumes)
        self.containers[name] = container
        self.order.append(name)
        return container

    def stop(self, name: str) -> int:
        """Stop one service; returns its exit status."""
        status = self.containers.pop(name).stop()
        self._networks.remove(name)
        return status

    def down(self) -> dict[str, int]:
        """Stop everything, what depends on others first; returns the exit statuses."""
        statuses: dict[str, int] = {}
        while self.containers:
            needed = {each for c in self.containers.values() for each in c.service.depends_on}
            free = [name for name in self.containers if name not in needed]
            for name in free:
                self.containers[name].signal_stop()
            statuses.update({name: self.stop(name) for name in free})
        return statuses

    def wait_healthy(self, name: str) -> None:
        """Wait until a service is healthy."""
        while not self._is_well(name):
            time.sleep(_PAUSE_S)

    def url(self, name: str, port: int) -> str:
        """Where this machine reaches a published port of a service."""
        container = self.containers[name]
        if port not in {each.target for each in container.service.ports}:
            raise ValueError(f"{name} does not publish port {port}")
        return f"http://{container.place.published}:{port}"

    def _give_volumes(self, service: Service) -> None:
        """A new volume belongs to the user of the image's folder there; not where a service sees to that."""
        for mount in service.mounts:
            if mount.kind == "volume" and not self._has_owner(mount.source):
                path = self._volumes[mount.source]
                if not any(path.iterdir()):
                    os.chown(path, *service.user)

    def _has_owner(self, volume: str) -> bool:
        return any(
            each.entrypoint == ["chown"] and any(mount.source == volume for mount in each.mounts)
            for each in self.services.values()
        )

    def _is_well(self, name: str) -> bool:
        """Whether a service is healthy; one that only prepares something: whether it has ended well.

        Raises `RuntimeError` if it has ended otherwise, `TimeoutError` if it took too long.
        """
        container = self.containers[name]
        if name in self._once:
            if (status := container.process.poll()) is None or status == 0:
                return status == 0
            raise RuntimeError(f"{name} ended with {status}: {container.tail()}")
        if container.is_healthy():
            return True
        if time.monotonic() > container.deadline:
            raise TimeoutError(f"{name} did not become healthy: {container.tail()}")
        return False


@contextmanager
def running_project(
    folder: Path,
    files: Sequence[Path],
    env_file: Path | None = None,
    *,
    without: Collection[str] = (),
) -> Iterator[ComposeProject]:
    """A project that is up, and ended with the block."""
    with ComposeProject(folder, files, env_file, without=without) as project:
        project.up()
        yield project
