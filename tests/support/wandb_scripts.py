"""Scripts that use the official `wandb` client, unchanged, in processes of their own against an
installation; and how its command line is run.

Each script has a folder of its own, which is its home (`.netrc`, settings, caches), its `WANDB_DIR` and
where it runs: nothing of the machine's user is seen or touched.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from support.up import Up

__all__ = [
    "Script",
    "ScriptResult",
    "run_wandb",
    "run_wandb_command",
    "script_environ",
    "start_wandb",
]

TIMEOUT_S = 50.0
"""How long a script may take unless a test says otherwise; below the limit of the test itself."""

_ENTITY = "local"


@dataclass(frozen=True)
class ScriptResult:
    """How a script ended. `folder` holds its home and what the client left there."""

    code: int
    stdout: str
    stderr: str
    folder: Path

    def check(self) -> ScriptResult:
        """Itself, if it ended well."""
        assert self.code == 0, f"{self.stdout}\n{self.stderr}\n{self.log()}"
        return self

    def log(self) -> str:
        """What the client's own process noted, the last of it."""
        logs = sorted(self.folder.glob("wandb/*run-*/logs/debug-internal.log"))
        return "\n".join(path.read_text()[-3_000:] for path in logs)

    def run_folders(self, kind: str = "") -> list[Path]:
        """The client's folders of runs, `kind` offline or none, the oldest first."""
        return sorted(self.folder.glob(f"wandb/{kind and kind + '-'}run-*"))


class Script:
    """A running script. Its output goes to files, so that nothing waits for a reader."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.folder = folder

    @property
    def stdout(self) -> str:
        return (self.folder / "stdout").read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text(errors="replace")

    def wait(self, timeout_s: float = TIMEOUT_S) -> ScriptResult:
        """Its end. Fails if that does not come."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the script did not end\n{self.stdout}\n{self.stderr}") from None
        return ScriptResult(self.process.returncode, self.stdout, self.stderr, self.folder)

    def kill(self) -> None:
        """End it and the client's own process at once, as a machine that goes does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def says(self, text: str) -> bool:
        """Whether its output has this by now; fails if it ended without."""
        if text in self.stdout:
            return True
        ended = self.process.poll() is not None and text not in self.stdout
        assert not ended, f"ended without {text!r}\n{self.stdout}\n{self.stderr}"
        return False


def script_environ(up: Up, folder: Path, **environ: str) -> dict[str, str]:
    """The environment of a wandb user whose home is this folder."""
    own = {
        **up.environ,
        "HOME": str(folder),
        "NETRC": str(folder / ".netrc"),
        "WANDB_DIR": str(folder),
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_DATA_DIR": str(folder / "data"),
        "WANDB_ARTIFACT_DIR": str(folder / "artifacts"),
        "WANDB_CONFIG_DIR": str(folder / "settings"),
        "WANDB_BASE_URL": up.url,
        "WANDB_API_KEY": up.api_key,
        "WANDB_ENTITY": _ENTITY,
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
        "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "1",
        "PYTHONUNBUFFERED": "1",
    }
    own.update(environ)
    return {name: value for name, value in own.items() if value}


def script_folder(up: Up) -> Path:
    """A new folder for one script, or several in turn."""
    return Path(tempfile.mkdtemp(prefix="script-", dir=up.folder))


@contextmanager
def start_wandb(
    up: Up, code: str, *arguments: str, folder: Path | None = None, **environ: str
) -> Iterator[Script]:
    """Start a script; an empty variable is left out. What still runs at the end is killed."""
    folder = folder or script_folder(up)
    path = Path(tempfile.mkstemp(prefix="script-", suffix=".py", dir=folder)[1])
    path.write_text(code)
    command = [sys.executable, str(path), *arguments]
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            command,
            env=script_environ(up, folder, **environ),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    script = Script(process, folder)
    try:
        yield script
    finally:
        script.kill()


def run_wandb(
    up: Up,
    code: str,
    *arguments: str,
    folder: Path | None = None,
    timeout_s: float = TIMEOUT_S,
    **environ: str,
) -> ScriptResult:
    """Run a script to its end; an environment variable that is empty is left out."""
    with start_wandb(up, code, *arguments, folder=folder, **environ) as script:
        return script.wait(timeout_s)


def run_wandb_command(
    up: Up,
    *arguments: str,
    folder: Path | None = None,
    timeout_s: float = TIMEOUT_S,
    stdin: str = "",
    **environ: str,
) -> ScriptResult:
    """Run the `wandb` command line."""
    folder = folder or script_folder(up)
    ended = subprocess.run(
        [sys.executable, "-m", "wandb", *arguments],
        env=script_environ(up, folder, WANDB_SILENT="", **environ),
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        start_new_session=True,
    )
    return ScriptResult(ended.returncode, ended.stdout, ended.stderr, folder)
