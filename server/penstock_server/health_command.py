"""`penstock health`: asks a role on this machine whether it works, as container health checks do."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from http.client import HTTPException
from urllib.request import ProxyHandler, build_opener

from penstock_common.process.settings import GatewaySettings, load

__all__ = ["address", "check"]

_TIMEOUT_S = 4.0
_ALL = {"0.0.0.0": "127.0.0.1", "[::]": "127.0.0.1"}  # noqa: S104
"""Where a role answers that listens on every address."""


def check(url: str | None, environ: Mapping[str, str]) -> int:
    """Ask `url`, by default the address that the settings name; returns the exit status: 0 or 1."""
    asked = url or address(load(GatewaySettings, environ=environ))
    # Never through a proxy: it is this machine that is asked.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(asked, timeout=_TIMEOUT_S):
            return 0
    except (OSError, HTTPException, ValueError) as error:
        sys.stderr.write(f"penstock: {asked}: {error}\n")
        return 1


def address(settings: GatewaySettings) -> str:
    """The URL of `/healthz`: the worker's and the store's is at their metrics, a gateway's on its port."""
    host, _, port = settings.metrics_listen.rpartition(":")
    if not port:
        host, port = settings.host, str(settings.port)
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{_ALL.get(host, host)}:{port}/healthz"
