"""Reads JSON answers of any size and history line by line over HTTP. Standard library only."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from penstock.command_codes import CommandCode
from penstock.error_codes import ErrorCode
from penstock.errors import Rejected, Transient, from_reply
from penstock.link import Link
from penstock.wire.numbers import NOT_FINITE

__all__ = ["Reader", "section_of"]


def revived(value: Any) -> Any:
    """A value of an answer, with NaN and ±Inf, strings in JSON, as floats again."""
    if isinstance(value, str):
        return NOT_FINITE.get(value, value)
    if isinstance(value, list):
        return [revived(each) for each in value]
    if isinstance(value, dict):
        return {key: revived(each) for key, each in value.items()}
    return value


def section_of(run: Mapping[str, Any], name: str) -> dict[str, Any]:
    """`config` or `summary` of an answer, with NaN and ±Inf as floats again where the answer says so;
    the same text elsewhere stays text. Older servers do not say where."""
    found: dict[str, Any] = run[name]
    places = run.get("not_finite")
    if places is None:
        return dict(revived(found))
    found = json.loads(json.dumps(found)) if places else dict(found)
    for section, *path in places:
        if section == name and path:
            _revive(found, path)
    return found


def _revive(found: Any, path: list[Any]) -> None:
    *parents, last = path
    try:
        for key in parents:
            found = found[key]
        found[last] = revived(found[last])
    except (KeyError, IndexError, TypeError):  # not among the requested fields
        return


class Reader(Link):
    """Requests to one server. With an empty key they carry none, as a loopback server allows."""

    def get(self, path: str, api_key: str) -> dict[str, Any]:
        """The JSON object at `path`. Raises Transient or Rejected."""
        return self._object(path, api_key)

    def post(self, path: str, api_key: str, question: dict[str, Any]) -> dict[str, Any]:
        """The JSON object that answers a request body. Raises Transient or Rejected."""
        try:
            body = json.dumps(question, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise Rejected(f"cannot be encoded as JSON: {error}", code=ErrorCode.BAD_JSON) from None
        return self._object(path, api_key, body)

    def _object(self, path: str, api_key: str, body: bytes | None = None) -> dict[str, Any]:
        connection, reply = self._open(path, api_key, body)
        try:
            found = json.loads(reply.read())
        except (ValueError, OSError, http.client.HTTPException) as error:
            raise Transient(
                f"the response was cut off: {error}", code=CommandCode.BROKEN_ANSWER
            ) from error
        finally:
            connection.close()
        if not isinstance(found, dict):
            raise Rejected(
                f"{self.base.geturl()} does not answer like Penstock",
                code=CommandCode.NOT_PENSTOCK,
                hint="",
            )
        return found

    def rows(self, path: str, api_key: str, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The rows of a history as they arrive. Raises Transient if they are cut off, so they never end
        early unnoticed. Closing the iterator closes the connection."""
        parameters = urlencode({**query, "nan": "bare"}, doseq=True)
        connection, reply = self._open(f"{path}?{parameters}", api_key)
        # Older servers send NaN and ±Inf as strings, indistinguishable from text.
        read = _same if "nan=bare" in (reply.headers.get("Content-Type") or "") else revived
        try:
            # Chunked: a truncated stream raises, where readline() would just end.
            buffer = b""
            while data := reply.read1(1 << 16):
                *whole, buffer = (buffer + data).split(b"\n")
                for line in whole:
                    yield read(json.loads(line))
            if buffer:
                raise http.client.IncompleteRead(buffer)
        except (OSError, http.client.HTTPException) as error:
            raise Transient(
                f"the history was cut off: {error}", code=CommandCode.BROKEN_ANSWER
            ) from error
        finally:
            connection.close()

    def pieces(self, path: str, api_key: str) -> Iterator[bytes]:
        """The body at `path` as it arrives. Raises Transient if it is cut off."""
        connection, reply = self._open(path, api_key)
        left = reply.length
        try:
            while data := reply.read(1 << 18):
                left = None if left is None else left - len(data)
                yield data
            if left:
                raise http.client.IncompleteRead(b"", left)
        except (OSError, http.client.HTTPException) as error:
            raise Transient(
                f"the response was cut off: {error}", code=CommandCode.BROKEN_ANSWER
            ) from error
        finally:
            connection.close()

    def _open(
        self, path: str, api_key: str, body: bytes | None = None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        target = self.base.path + path
        if self._proxy is not None and self.base.scheme == "http":
            target = f"http://{self.base.netloc}{target}"
        connection = self._connect()
        try:
            connection.request("GET" if body is None else "POST", target, body, headers)
            reply = connection.getresponse()
            if reply.status in (200, 204):
                return connection, reply
            payload = _json(reply.read(1 << 20))
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Transient(
                f"cannot reach {self.base.geturl()}: {str(error) or type(error).__name__}",
                code=CommandCode.UNREACHABLE,
            ) from error
        connection.close()
        raise from_reply(reply.status, payload, reply.headers.get("Retry-After"))


def _same(row: Any) -> Any:
    return row


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except ValueError:
        return None
