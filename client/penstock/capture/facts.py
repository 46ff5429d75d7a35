"""What is known of a run's surroundings: command, machine, launcher, packages, git, the script itself.

Entries of the run's `info` first, then files: `requirements.txt`, `diff.patch` and `code/…`, where the official client
keeps them too. Secrets are redacted, except in code that the user asked to keep.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from penstock.capture.cgroups import cpu_limit, memory_limit_bytes
from penstock.capture.git import git_facts
from penstock.capture.launchers import launcher_facts
from penstock.capture.secrets import Redactor, secrets_in

__all__ = ["gather", "packages_in"]

_MAX_CHARS = 4_096
_MAX_CODE_BYTES = 4 << 20
_PACKAGE = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+?)(?:-py[0-9.]+)?\.(?:dist|egg)-info$")


def gather(message: Mapping[str, Any], api_key: str) -> Iterator[dict[str, Any]]:
    """`{"facts": …}` and `{"files": …}` of what `message["wants"]`, the cheapest first."""
    process, wants = message["process"], message["wants"]
    redact = Redactor({*secrets_in(os.environ), api_key})
    if "machine" in wants:
        yield {"facts": _host(process, redact)}
    if "code" in wants:
        yield {"files": _script(process)}
    if "packages" in wants:
        lines = packages_in(process["sys_path"])
        yield {"files": {"requirements.txt": "".join(f"{line}\n" for line in lines).encode()}}
    if "git" in wants:
        found = git_facts(Path(process["cwd"]), redact)
        if found is not None:
            yield {"facts": {"git": found.facts}}
            if found.diff:
                yield {"files": {"diff.patch": found.diff}}


def packages_in(path: Iterable[str]) -> list[str]:
    """`name==version` of each package that is installed in these folders; the first one found counts."""
    found: dict[str, str] = {}
    for folder in path:
        with contextlib.suppress(OSError):
            for entry in os.scandir(folder or "."):
                package = _PACKAGE.fullmatch(entry.name)
                if package is not None:
                    key = re.sub(r"[-_.]+", "-", package["name"]).lower()
                    found.setdefault(key, f"{package['name']}=={package['version']}")
    return [found[key] for key in sorted(found)]


def _host(process: Mapping[str, Any], redact: Redactor) -> dict[str, Any]:
    command = shlex.join(redact.arguments(process["command"]))
    facts: dict[str, Any] = {
        "command": redact(command),
        "executable": process["executable"],
        "cwd": process["cwd"],
        "os": platform.platform(),
        "cpus": _cpus(),
        "memory_gib": _memory_gib(),
        "gpus": _gpus(),
        "launcher": launcher_facts(os.environ, redact),
    }
    with contextlib.suppress(Exception):  # no such user in a container
        facts["user"] = getpass.getuser()
    cut = {name: each[:_MAX_CHARS] if type(each) is str else each for name, each in facts.items()}
    return {name: value for name, value in cut.items() if value}


def _cpus() -> int:
    """How many the process may use."""
    try:
        count = len(os.sched_getaffinity(0))
    except (OSError, AttributeError):
        count = os.cpu_count() or 0
    limit = cpu_limit()
    return count if limit is None else max(1, min(count, round(limit)))


def _memory_gib() -> float | None:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None
    limit = memory_limit_bytes()
    return round(min(total, limit or total) / 2**30, 1)


def _gpus() -> list[str]:
    """The models of NVIDIA's, as its driver lists them."""
    names = []
    with contextlib.suppress(OSError):
        for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
            found = re.search(
                r"^Model:\s*(.+?)\s*$", path.read_text(errors="replace"), re.MULTILINE
            )
            if found is not None:
                names.append(found[1])
    return names


def _script(process: Mapping[str, Any]) -> dict[str, bytes]:
    """The main script as `code/…`, by its path below the working folder."""
    if not process["script"]:
        return {}
    path = Path(process["cwd"], process["script"])
    try:
        content = path.read_bytes() if path.stat().st_size <= _MAX_CODE_BYTES else b""
    except OSError:
        return {}
    cwd = Path(process["cwd"])
    name = path.relative_to(cwd).as_posix() if path.is_relative_to(cwd) else path.name
    return {f"code/{name}": content} if content and ".." not in name.split("/") else {}
