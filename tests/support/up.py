"""The real `penstock up`, as a user starts it, in a temporary folder on a free port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

__all__ = ["Up", "end_shipper", "running_up", "start_up", "wait_until"]

_START_S = 60.0


@dataclass
class Up:
    """A running installation and how its user's environment looks."""

    process: subprocess.Popen[bytes]
    folder: Path
    url: str
    api_key: str
    children: dict[str, list[int]]
    environ: dict[str, str] = field(default_factory=dict)
    python: Path = Path(sys.executable)

    def get(self, path: str) -> Any:
        """The JSON answer of a GET with the API key."""
        return self._call(Request(f"{self.url}{path}"))

    def post(self, path: str, payload: object) -> Any:
        """The JSON answer of a POST with the API key."""
        headers = {"Content-Type": "application/json"}
        body = json.dumps(payload).encode()
        return self._call(Request(f"{self.url}{path}", body, headers, method="POST"))

    def send(self, method: str, path: str, payload: object = None) -> Any:
        """The JSON answer to any other request with the API key."""
        body = None if payload is None else json.dumps(payload).encode()
        headers = {"Content-Type": "application/json"} if body else {}
        return self._call(Request(f"{self.url}{path}", body, headers, method=method))

    def _call(self, request: Request) -> Any:
        request.add_header("Authorization", f"Bearer {self.api_key}")
        try:
            with urlopen(request, timeout=10) as reply:
                return json.loads(reply.read())
        except HTTPError as error:
            error.close()
            raise

    def run_python(self, code: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a script as this installation's user would."""
        return subprocess.run(
            [str(self.python), "-c", code],
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def start_python(self, code: str) -> subprocess.Popen[bytes]:
        """The same, without waiting for its end."""
        return subprocess.Popen([str(self.python), "-c", code], env=self.environ)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """End the supervisor and wait for it."""
        self.process.send_signal(number)
        return self.process.wait(20)


def start_up(
    folder: Path,
    *arguments: str,
    port: int = 0,
    settings: Mapping[str, str] | None = None,
    python: Path = Path(sys.executable),
    stderr: IO[bytes] | None = None,
) -> Up:
    """Start on `folder`/data and wait until it is ready. `settings` are for the server alone;
    `python` is the interpreter of the environment that Penstock is installed in."""
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PENSTOCK_", "WANDB_"))},
        "XDG_CONFIG_HOME": str(folder / "config"),
        "PENSTOCK_CONSOLE": "off",
        "PENSTOCK_FACTS": "off",
        "PENSTOCK_DIR": str(folder / "spool"),
        "PENSTOCK_SYSTEM_METRICS": "off",
    }
    command = [
        str(python), "-m", "penstock.cli", "up", "--port", str(port),
        "--data", str(folder / "data"), "--ready-file", str(ready), *arguments,
    ]  # fmt: skip
    process = subprocess.Popen(
        command, env={**environ, **(settings or {})}, stdout=subprocess.DEVNULL, stderr=stderr
    )

    def is_ready() -> bool:
        assert process.poll() is None, "penstock up ended before it was ready"
        return ready.exists()

    wait_until(is_ready, _START_S)
    content = json.loads(ready.read_text())
    environ["PENSTOCK_BASE_URL"] = content["url"]
    environ["PENSTOCK_API_KEY"] = content["api_key"]
    return Up(
        process, folder, content["url"], content["api_key"], content["children"], environ, python
    )


@contextmanager
def running_up(
    folder: Path,
    *arguments: str,
    settings: Mapping[str, str] | None = None,
    python: Path = Path(sys.executable),
    stderr: IO[bytes] | None = None,
) -> Iterator[Up]:
    """`start_up`, and the end of it."""
    up = start_up(folder, *arguments, settings=settings, python=python, stderr=stderr)
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.stop()
        end_shipper(folder)


def end_shipper(folder: Path) -> None:
    """End the shipper that scripts in `run_python` started: it outlives them on purpose."""
    lock = folder / "spool" / "shipper.lock"
    if lock.exists() and (text := lock.read_text()):
        with suppress(ProcessLookupError):
            os.kill(int(text.split()[0]), signal.SIGTERM)


def wait_until(check: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Poll until `check` says true. Fails if it never does."""
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
