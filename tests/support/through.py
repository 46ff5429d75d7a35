"""A user of an installation behind a proxy: logs with the real client, uploads files, reads back."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

__all__ = ["Visitor"]

_LOG = """
import math
import penstock
with penstock.init(project={project!r}, id={run!r}) as run:
    for step in range({rows}):
        run.log({{"loss": math.exp(-step / 300), "step twice": 2 * step}}, step=step)
"""
_UPLOAD = """
mutation CreateRunFiles($entity: String!, $project: String!, $run: String!, $files: [String!]!) {
  createRunFiles(input: {entityName: $entity, projectName: $project, runName: $run, files: $files}) {
    files { name uploadUrl }
  }
}
"""


@dataclass
class Visitor:
    """Someone with a key, in a folder of their own."""

    url: str
    api_key: str
    folder: Path
    ca_file: Path | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        """The variables of this user's scripts."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PENSTOCK_", "WANDB_"))}
        own = {
            "PENSTOCK_BASE_URL": self.url,
            "PENSTOCK_API_KEY": self.api_key,
            "PENSTOCK_CONSOLE": "off",
            "PENSTOCK_FACTS": "off",
            "PENSTOCK_DIR": str(self.folder / "spool"),
            "PENSTOCK_SYSTEM_METRICS": "off",
            "XDG_CONFIG_HOME": str(self.folder / "config"),
        }
        if self.ca_file is not None:
            own["PENSTOCK_CA_FILE"] = str(self.ca_file)
        return {**kept, **own}

    def log(self, project: str, run: str, rows: int) -> None:
        """Log rows 0 … `rows` - 1 of a run, and return once all of it is stored."""
        code = _LOG.format(project=project, run=run, rows=rows)
        done = self.command(sys.executable, "-c", code)
        assert done.returncode == 0, done.stderr

    def verify(self, run: str) -> subprocess.CompletedProcess[str]:
        """`penstock verify`."""
        return self.command(sys.executable, "-m", "penstock.cli", "verify", run)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, env=self.environ, capture_output=True, text=True, timeout=180)

    def ask(
        self,
        path: str,
        body: object = None,
        *,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
    ) -> Any:
        """The content of a response: JSON as an object, anything else as bytes."""
        data = (
            body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        )
        sent = {"Authorization": f"Bearer {self.api_key}", **self.headers, **(headers or {})}
        if data is not None and not isinstance(body, bytes):
            sent["Content-Type"] = "application/json"
        url = path if "://" in path else f"{self.url}{path}"
        request = Request(url, data, sent, method=method)
        with urlopen(request, timeout=timeout_s, context=self.tls) as reply:
            content = reply.read()
            kind = reply.headers.get_content_type()
        return json.loads(content) if kind == "application/json" else content

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The context with which to connect; None over plain HTTP."""
        return ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None

    def history(self, project: str, run: str) -> list[dict[str, Any]]:
        """The rows of a run, without times."""
        text = self.ask(f"/v1/runs/local/{project}/{run}/history").decode()
        rows = [json.loads(line) for line in text.splitlines()]
        return [
            {k: v for k, v in row.items() if k not in ("_timestamp", "_runtime")} for row in rows
        ]

    def upload_url(self, project: str, run: str, name: str) -> str:
        """The signed address at which a file of a run may be put."""
        variables = {"entity": "local", "project": project, "run": run, "files": [name]}
        answer = self.ask("/graphql", {"query": _UPLOAD, "variables": variables})
        return str(answer["data"]["createRunFiles"]["files"][0]["uploadUrl"])

    def upload(
        self, project: str, run: str, name: str, content: bytes, timeout_s: float = 120
    ) -> None:
        """Upload a file as the official client does."""
        url = self.upload_url(project, run, name)
        self.ask(url, content, method="PUT", timeout_s=timeout_s)

    def download(self, project: str, run: str, name: str) -> bytes:
        content: bytes = self.ask(f"/v1/runs/local/{project}/{run}/files/{name}", timeout_s=120)
        return content
