"""The images of deploy/Dockerfile, built here by buildah without a registry of images.

The base is a Debian with Python 3.11 that debootstrap makes from Debian's packages, in place of the image that
the Dockerfile names. How this machine reaches its package registries is passed on to the steps that
install, as the Dockerfile's secrets; nothing of it is in an image.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Builder", "Image", "missing_tools"]

ROOT = Path(__file__).parents[2]
SUITE = "bookworm"
"""Debian's release that has Python 3.11."""
_PROGRAMS = ("buildah", "debootstrap", "unshare", "nsenter", "setpriv", "ip")
_BUILD_S = 1_500
_PIP_KEYS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "trusted-host",
    "cert",
    "proxy",
    "timeout",
)
_CA = "/etc/ssl/certs/ca-certificates.crt"
"""Where the Dockerfile's secret `ca` is mounted."""
# What the base's slim variant leaves out too.
_NOT_IN_SLIM = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "var/cache/apt",
    "var/lib/apt/lists",
)


def missing_tools() -> str:
    """What this machine lacks to build and run images; empty if nothing."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    return "" if os.getuid() == 0 else "only root can build and run images here"


@dataclass(frozen=True)
class Image:
    """A built image: its files, and what it says about itself."""

    files: Path
    described: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """User, Env, Cmd, Volumes and so on, as Docker names them."""
        found: dict[str, Any] = self.described["Docker"]["config"]
        return found

    @cached_property
    def environ(self) -> dict[str, str]:
        return dict(text.split("=", 1) for text in self.config["Env"])

    def megabytes(self) -> float:
        """Of all files as they are unpacked; several links to one count once."""
        sizes: dict[tuple[int, int], int] = {}
        for parent, _, names in os.walk(self.files):
            for name in names:
                found = Path(parent, name).lstat()
                sizes[found.st_dev, found.st_ino] = found.st_size
        return sum(sizes.values()) / 1e6


class Builder:
    """Builds in a folder of its own; `close` removes what only root could."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._options = [
            f"--root={folder / 'storage'}", f"--runroot={folder / 'run'}", "--storage-driver=vfs",
        ]  # fmt: skip
        self._log = folder / "build.log"

    def base(self) -> str:
        """The name of a base with Python 3.11 and pip's own wheel."""
        container = self._buildah("from", "scratch")
        mounted = Path(self._buildah("mount", container))
        # debootstrap does not resolve what a package only provides: python3.11-distutils.
        packages = "python3,python3-distutils,python3.11-venv,ca-certificates"
        self._run(
            "debootstrap",
            "--variant=minbase",
            f"--include={packages}",
            SUITE,
            str(mounted),
            _mirror(),
        )
        for each in _NOT_IN_SLIM:
            shutil.rmtree(mounted / each, ignore_errors=True)
        self._buildah("umount", container)
        return self._commit(container, "localhost/base:3.11-debian")

    def _commit(self, container: str, name: str) -> str:
        self._buildah("commit", "--quiet", "--rm", container, name)
        return name

    def build(self, target: str, base: str) -> Image:
        """Build a target of deploy/Dockerfile and unpack it."""
        name = f"localhost/penstock:{target}"
        self._run(
            "buildah", *self._options, "bud", "--isolation=chroot", "--format=docker", "--network=host",
            f"--target={target}", f"--build-arg=BASE={base}", "--build-arg=REVISION=0123abc",
            *self._registries(), "--file=deploy/Dockerfile", f"--tag={name}", str(ROOT),
        )  # fmt: skip
        container = self._buildah("from", "--pull-never", name)
        files = Path(self._buildah("mount", container))
        return Image(files, json.loads(self._buildah("inspect", "--type=image", name)))

    def close(self) -> None:
        """Unmount and remove everything."""
        self._buildah("umount", "--all")
        self._buildah("rm", "--all")
        shutil.rmtree(self._folder)

    def _registries(self) -> list[str]:
        """How packages are reached from here, as secrets; folders of packages as volumes."""
        settings = _pip_settings()
        pip = ["[global]", *(f"{key} = {' '.join(found)}" for key, found in settings.items())]
        secrets = {"pip": self._secret("pip.conf", "\n".join(pip).replace(_ca(settings), _CA))}
        npmrc = [f"cafile={_CA}"]
        for path in (Path("/etc/npmrc"), Path("/usr/etc/npmrc"), Path.home() / ".npmrc"):
            if path.exists():
                npmrc += [line for line in path.read_text().splitlines() if "registry" in line]
        secrets["npm"] = self._secret("npmrc", "\n".join(npmrc))
        if Path(_ca(settings)).exists():
            secrets["ca"] = Path(_ca(settings))
        return [
            *(f"--secret=id={name},src={path}" for name, path in secrets.items()),
            *(f"--volume={each}:{each}:ro" for each in sorted(_folders(settings))),
        ]

    def _secret(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(f"{text}\n")
        return path

    def _buildah(self, *arguments: str) -> str:
        done = subprocess.run(
            ["buildah", *self._options, *arguments], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _run(self, *command: str) -> None:
        with self._log.open("ab") as log:
            done = subprocess.run(
                command, stdout=log, stderr=log, cwd=ROOT, env=_plain_environ(), timeout=_BUILD_S
            )
        assert done.returncode == 0, self._log.read_text(errors="replace")[-5_000:]


def _plain_environ() -> dict[str, str]:
    """What the machine says to its own package clients is for the secrets alone."""
    prefixes = ("PIP_", "NPM_", "npm_", "PYTHON", "PENSTOCK_")
    return {name: text for name, text in os.environ.items() if not name.startswith(prefixes)}


def _pip_settings() -> dict[str, Sequence[str]]:
    """What pip's files and variables say here about where packages are."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, Sequence[str]] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in _PIP_KEYS:
            found[key] = value.strip("'\"").split()
    return found


def _folders(settings: dict[str, Sequence[str]]) -> set[Path]:
    """Folders of packages that pip uses here: an index on disk links to files beside itself."""
    texts = [text for found in settings.values() for text in found]
    indexes = {Path(urlsplit(text).path).parent for text in texts if text.startswith("file:")}
    return {
        *indexes,
        *(Path(text) for text in settings.get("find-links", ()) if Path(text).is_dir()),
    }


def _ca(settings: dict[str, Sequence[str]]) -> str:
    return (*settings.get("cert", ()), _CA)[0]


def _mirror() -> str:
    """Where apt gets this release's packages from here."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for line in listed.splitlines():
        suite, component, uri = line.split()
        if (suite, component) == (SUITE, "main"):
            return uri
    raise AssertionError(f"apt has no {SUITE} here")
