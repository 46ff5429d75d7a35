"""The state of the repository that a script was started in: remote, branch, commit, and what differs from it.

Git runs with time limits and without anything that a repository's configuration could make it start.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.capture.secrets import without_credentials

__all__ = ["MAX_DIFF_BYTES", "GitFacts", "git_facts"]

MAX_DIFF_BYTES = 4 << 20
_TIMEOUT_S = 5.0
_DIFF_TIMEOUT_S = 20.0
_SAFE = (
    "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false",
)  # fmt: skip


@dataclass(frozen=True)
class GitFacts:
    """`facts`: commit, branch, remote, dirty. `diff`: of tracked files to the commit, cut to a bounded size."""

    facts: dict[str, Any]
    diff: bytes


def git_facts(folder: Path, redact: Callable[[str], str]) -> GitFacts | None:
    """None if the folder is in no repository with a commit, or if there is no git."""
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if not commit:
        return None
    facts: dict[str, Any] = {"commit": commit.decode(errors="replace").strip()}
    branch = _git(folder, "symbolic-ref", "--quiet", "--short", "HEAD")
    if branch:
        facts["branch"] = branch.decode(errors="replace").strip()[:500]
    remote = _git(folder, "config", "--get", "remote.origin.url")
    if remote:
        facts["remote"] = redact(without_credentials(remote.decode(errors="replace").strip()))[:500]
    diff = _diff(folder)
    if diff is not None:
        facts["dirty"] = bool(diff)
    return GitFacts(facts, _readable(diff or b"", redact))


def _diff(folder: Path) -> bytes | None:
    """At most a little over `MAX_DIFF_BYTES` of it; None if git does not say."""
    command = _command(folder, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD")
    try:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=_environment(),
        ) as process:  # fmt: skip
            timer = threading.Timer(_DIFF_TIMEOUT_S, process.kill)
            timer.start()
            found = process.stdout.read(MAX_DIFF_BYTES + 1) if process.stdout else b""
            is_whole = len(found) <= MAX_DIFF_BYTES
            if not is_whole:
                process.kill()
            is_good = process.wait() == 0
            timer.cancel()
    except OSError:
        return None
    return found if is_good or not is_whole else None


def _readable(diff: bytes, redact: Callable[[str], str]) -> bytes:
    is_cut = len(diff) > MAX_DIFF_BYTES
    text = diff[:MAX_DIFF_BYTES].decode(errors="replace")
    lines = [redact(line) for line in text.split("\n")]
    if is_cut:
        lines = [*lines[:-1], f"(cut after {MAX_DIFF_BYTES / 2**20:.0f} MiB)", ""]
    return "\n".join(lines).encode()


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        return subprocess.run(
            _command(folder, *arguments), stdin=subprocess.DEVNULL, capture_output=True,
            timeout=_TIMEOUT_S, check=True, env=_environment(),
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return b""


def _command(folder: Path, *arguments: str) -> list[str]:
    return ["git", "-C", str(folder), "--no-pager", *_SAFE, *arguments]


def _environment() -> dict[str, str]:
    return {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
