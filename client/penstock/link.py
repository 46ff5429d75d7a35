"""HTTP to one server: persistent connections, proxies, and replies as values or typed errors.

Standard library only. Temporary failures (no connection, timeouts, 429, 5xx) are `Transient`;
permanent ones are `Rejected`.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import threading
import urllib.request
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from penstock.command_codes import CommandCode
from penstock.errors import Rejected, Transient, from_reply
from penstock.pasted import repaired_proxy, repaired_url
from penstock.spool.meta import Meta

__all__ = ["Link", "is_loopback"]

_TIMEOUT_S = 30.0
_AGE_HEADER = (
    "Penstock-Age"  # as `penstock.wire` has it, which the training process does not import
)
_MAX_REPLY_BYTES = 16 << 20
_BAD_URL_HINT = "Set PENSTOCK_BASE_URL, or run: penstock login --host http://host:port"


class Link:
    """One server, for one user. Safe to use from several threads: each has its own connection."""

    def __init__(
        self,
        base_url: str,
        ca_file: str | None,
        proxies: dict[str, str],
        *,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        """`timeout_s` limits connecting and each wait for bytes. Raises Rejected (bad_url)."""
        try:
            # It may come from an older version's spool or from an environment variable.
            self.base = urlsplit(repaired_url(base_url).value)
        except ValueError as error:
            raise Rejected(str(error), code=CommandCode.BAD_URL, hint=_BAD_URL_HINT) from None
        self._timeout_s = timeout_s
        self._ca_file = ca_file
        self._proxy = _proxy_for(self.base, proxies)
        self._local = threading.local()
        self._made: set[http.client.HTTPConnection] = set()

    @classmethod
    def of(cls, meta: Meta) -> Link:
        return cls(meta.base_url, _ca_file_of(meta), meta.proxies)

    def post_batches(
        self, body: bytes, api_key: str, *, age_us: int | None = None
    ) -> dict[str, Any]:
        """Send a body of batches; `age_us`: for how long their writer has run. Raises Transient or
        Rejected."""
        return self._ask("POST", "/v1/batches", api_key, body, age_us=age_us)

    def writer_position(self, meta: Meta, api_key: str) -> dict[str, Any]:
        """A writer's position: {committed, queue, store}."""
        names = (meta.entity or "-", meta.project, meta.run, meta.writer)
        path = "/v1/writers/" + "/".join(quote(name, safe="") for name in names)
        return self._ask("GET", path, api_key)

    def heartbeats(self, writers: list[dict[str, Any]], api_key: str) -> dict[str, Any] | None:
        """The positions of many writers: {store, marks}, in their order; None from a server
        that has no such route."""
        body = json.dumps({"writers": writers}).encode()
        try:
            return self.call("POST", "/v1/heartbeats", api_key, body, "application/json")
        except Rejected as error:
            if error.status in (404, 405):
                return None
            raise

    def _ask(
        self,
        method: str,
        path: str,
        api_key: str,
        body: bytes | None = None,
        *,
        age_us: int | None = None,
    ) -> dict[str, Any]:
        """Like `call`, but a refusal that is not Penstock's own, such as a proxy's page, does not refuse
        the data: it is `Transient`."""
        try:
            return self.call(method, path, api_key, body, age_us=age_us)
        except Rejected as error:
            # 401 asks for a key, 413 for smaller batches, whatever their source.
            if not error.code.startswith("http_") or error.status in (401, 413):
                raise
            raise Transient(
                f"{self.base.geturl()} does not answer like Penstock (status {error.status})",
                code=CommandCode.NOT_PENSTOCK,
                status=error.status,
            ) from error

    def call(
        self,
        method: str,
        path: str,
        api_key: str,
        body: bytes | None = None,
        content_type: str = "application/msgpack",
        *,
        age_us: int | None = None,
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {api_key}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        if age_us is not None:
            headers[_AGE_HEADER] = str(age_us)
        status, reply_headers, data = self._exchange(method, path, headers, body)
        try:
            payload = json.loads(data) if data else {}
        except ValueError:
            payload = None
        if status >= 400:
            raise from_reply(status, payload, reply_headers.get("Retry-After"))
        if status >= 300 or not isinstance(payload, dict):
            where = reply_headers.get("Location", "")
            raise Transient(
                f"{self.base.geturl()} does not answer like Penstock (status {status} {where})",
                code=CommandCode.NOT_PENSTOCK,
                status=status,
            )
        return payload

    def _exchange(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        target = self.base.path + path
        if self._proxy is not None and self.base.scheme == "http":
            target = f"http://{self.base.netloc}{target}"
            headers = headers | _proxy_headers(self._proxy)
        kept: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        for connection in [kept, None] if kept is not None else [None]:
            try:
                connection = connection or self._connect()
                connection.request(method, target, body, headers)
                reply = connection.getresponse()
                data = reply.read(_MAX_REPLY_BYTES)
                if reply.will_close:
                    self.close()
                return reply.status, reply.headers, data
            except (OSError, http.client.HTTPException) as error:
                self.close()
                # A persistent connection may have been closed meanwhile; retry with the same bytes.
                if connection is kept and kept is not None and not isinstance(error, TimeoutError):
                    continue
                raise Transient(
                    f"cannot reach {self.base.geturl()}: {str(error) or type(error).__name__}",
                    code=CommandCode.UNREACHABLE,
                ) from error
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            self._made.discard(connection)
            connection.close()

    def close_all(self) -> None:
        """Close the connections of all threads; none of them may have a request in progress."""
        for connection in list(self._made):
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self.base.hostname or "", self.base.port
        proxy = self._proxy
        connection: http.client.HTTPConnection
        if self.base.scheme == "https":
            context = self._context()
            at = (proxy.hostname or "", proxy.port) if proxy else (host, port)
            connection = http.client.HTTPSConnection(*at, timeout=self._timeout_s, context=context)
            if proxy:
                connection.set_tunnel(host, port or 443, _proxy_headers(proxy))
        else:
            at = (proxy.hostname or "", proxy.port) if proxy else (host, port)
            connection = http.client.HTTPConnection(*at, timeout=self._timeout_s)
        self._local.connection = connection
        self._made.add(connection)
        return connection

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._ca_file)
        except OSError as error:  # includes SSLError
            why = error.strerror or error
            raise Transient(
                f"the certificates in {self._ca_file} cannot be read: {why}; set PENSTOCK_CA_FILE",
                code=CommandCode.BAD_CA_FILE,
            ) from error


def _ca_file_of(meta: Meta) -> str | None:
    """A spool's certificates; this process's own if that file was another machine's or container's."""
    if not meta.ca_file or os.path.exists(meta.ca_file):  # noqa: PTH110 (never raises)
        return meta.ca_file
    from penstock.settings import Settings  # noqa: PLC0415  (only here)

    return Settings.resolve(None, {}).ca_file or meta.ca_file


def _proxy_for(base: SplitResult, proxies: dict[str, str]) -> SplitResult | None:
    url = proxies.get(base.scheme)
    host = base.hostname or ""
    if not url or is_loopback(base.geturl()):
        return None
    if "no" in proxies and urllib.request.proxy_bypass_environment(host, proxies):  # type: ignore[attr-defined]
        return None
    try:
        return urlsplit(repaired_proxy(url))
    except ValueError as error:
        raise Rejected(
            f"cannot use the {base.scheme} proxy: {error}", code=CommandCode.BAD_URL
        ) from None


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    """The credentials in a proxy's URL as a request header."""
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def is_loopback(base_url: str) -> bool:
    try:
        host = urlsplit(base_url).hostname or ""
    except ValueError:
        return False
    return host in ("localhost", "::1") or host.startswith("127.")
