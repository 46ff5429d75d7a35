"""Processes of an image, as a container runs them: its user, its variables, a read-only file system with
volumes, no capabilities, process 1 of their own, on hosts whose only network is their loopback.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from support.images import Image

__all__ = ["Container", "ImageHost", "image_host"]

_HEALTHY_S = 180.0
# What a container runtime does: the root is bound read-only, volumes are bound over it, then the rights go.
_ENTER = """
root=$1; volumes=$2; user=$3; folder=$4; shift 4
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
printf '%s\\n' "$volumes" | while IFS='|' read -r from to; do
    [ -z "$from" ] || mount --bind "$from" "$root$to"
done
exec setpriv --no-new-privs --inh-caps=-all chroot --userspec="$user" --groups= "$root" \
    /usr/bin/env -C "$folder" "$@"
"""


@dataclass
class Container:
    """A running process of an image, process 1 of its namespace."""

    outside: subprocess.Popen[bytes]
    log: Path

    @property
    def process(self) -> psutil.Process:
        """Process 1, as this side sees it."""
        (found,) = psutil.Process(self.outside.pid).children()
        return found

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self, timeout_s: float) -> int:
        """SIGTERM to process 1; returns its exit status. Fails if it takes longer."""
        self.process.send_signal(signal.SIGTERM)
        return self.outside.wait(timeout_s)

    def end(self) -> None:
        if self.outside.poll() is None:
            with suppress(ValueError, psutil.Error):
                self.process.kill()
            self.outside.kill()
            self.outside.wait(20)


@dataclass
class ImageHost:
    """A host: everything started on it meets on 127.0.0.1, and nothing else is reachable."""

    holder: subprocess.Popen[bytes]
    folder: Path
    started: list[Container] = field(default_factory=list)

    def volume(
        self, image: Image, path: str, *, name: str = "", owner: str = "", mode: int = 0
    ) -> Path:
        """A new volume, owned and open like the folder of the image that it covers, as engines make it."""
        made = self.folder / (name or f"volume-{len(list(self.folder.iterdir()))}")
        made.mkdir()
        covered = (image.files / path.lstrip("/")).stat()
        user, group = map(int, owner.split(":")) if owner else (covered.st_uid, covered.st_gid)
        os.chown(made, user, group)
        made.chmod(mode or covered.st_mode & 0o7777)
        return made

    def start(
        self,
        image: Image,
        *arguments: str,
        volumes: Mapping[str, Path] | None = None,
        user: str = "",
        environ: Mapping[str, str] | None = None,
        command: Sequence[str] = (),
    ) -> Container:
        """Start the image's entry point with its default command or these arguments, or `command` instead
        of both. Volumes that the image declares and that are not given are new ones."""
        config = image.config
        given = dict(volumes or {})
        for path in config["Volumes"]:
            if path not in given:
                given[path] = self.volume(image, path)
        variables = {**image.environ, **(environ or {})}
        words = [*command] or [*config["Entrypoint"], *(arguments or config["Cmd"])]
        log = self.folder / f"log-{len(self.started)}"
        with log.open("wb") as output:
            outside = subprocess.Popen(
                [
                    "nsenter", f"--net=/proc/{self.holder.pid}/ns/net",
                    "unshare", "--mount", "--pid", "--fork", "--kill-child",
                    "sh", "-euc", _ENTER, "enter", str(image.files),
                    "\n".join(f"{source}|{path}" for path, source in given.items()),
                    user or config["User"], config["WorkingDir"],
                    "-i", *(f"{name}={text}" for name, text in variables.items()), *words,
                ],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        container = Container(outside, log)
        self.started.append(container)
        return container

    def run(self, image: Image, *arguments: str, timeout_s: float = 120, **more: object) -> str:
        """`start`, and wait until it has ended well; returns what it printed."""
        container = self.start(image, *arguments, **more)  # type: ignore[arg-type]
        try:
            status = container.outside.wait(timeout_s)
        except subprocess.TimeoutExpired:
            status = -1
        assert status == 0, f"{status}: {container.output()[-5_000:]}"
        return container.output()

    def is_healthy(self, image: Image, environ: Mapping[str, str] | None = None) -> bool:
        """The answer of the image's own health check, in a container with these variables."""
        test = image.config["Healthcheck"]["Test"]
        assert test[0] == "CMD"
        container = self.start(image, command=test[1:], environ=environ)
        return container.outside.wait(60) == 0

    def until_healthy(
        self, of: Container, image: Image, environ: Mapping[str, str] | None = None
    ) -> None:
        """Fails if the container ends first or does not become healthy in time."""
        deadline = time.monotonic() + _HEALTHY_S
        while not self.is_healthy(image, environ):
            assert of.outside.poll() is None, of.output()[-5_000:]
            assert time.monotonic() < deadline, of.output()[-5_000:]
            time.sleep(0.1)


@contextmanager
def image_host(folder: Path) -> Iterator[ImageHost]:
    """A new host; everything on it ends with the block, and `folder` is removed."""
    folder.mkdir()
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 3600"],
        stdout=subprocess.PIPE,
    )
    host = ImageHost(holder, folder)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        yield host
    finally:
        for container in host.started:
            container.end()
        with holder:  # closes the pipe
            holder.kill()
        shutil.rmtree(folder, ignore_errors=True)
