"""Requests as no honest client writes them: the classes that RFC 9110 and 9112 name, and those that
made proxies and servers disagree about where a request ends.

Each is (bytes, what must come back). `@KEY` stands for a good key, `@BATCH` for a body of one good
batch, `@N` for its length. `@INNER` is a whole request that must not be answered where it stands as
data: its answer would be a 200 to a GET of /healthz.

    refused    one 4xx, and the connection is closed
    one        one answer below 500, whatever it is; the connection goes on or is closed
    queued     one 202: unusual, but right
    two        two answers: an honest pipeline
    ignored    one answer below 500; what follows is not looked at, the connection is left to end
    waits      nothing: the request is not complete, the server waits for the rest of it
"""

from __future__ import annotations

__all__ = ["REQUESTS", "filled"]

_INNER = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
_HEAD = b"POST /v1/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer @KEY\r\nContent-Type: application/msgpack\r\n"
_GET = b"GET /v1/viewer HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer @KEY\r\n"


def filled(raw: bytes, key: str, body: bytes) -> bytes:
    """The request with key, batch and length in place."""
    raw = raw.replace(b"@KEY", key.encode()).replace(b"@INNER", _INNER)
    return raw.replace(b"@BATCH", body).replace(b"@N", b"%d" % len(body))


def _post(headers: bytes, body: bytes = b"@BATCH") -> bytes:
    return _HEAD + headers + b"\r\n" + body


def _chunks(*chunks: bytes) -> bytes:
    return _post(b"Transfer-Encoding: chunked\r\n", b"".join(chunks))


_INNER_AS_CHUNK = b"0\r\n\r\n@INNER"

REQUESTS: dict[str, tuple[bytes, str]] = {
    # -- honest ones, as a check of the checks
    "honest": (_post(b"Content-Length: @N\r\n"), "queued"),
    "honest get": (_GET + b"\r\n", "one"),
    "honest pipeline": (_GET + b"\r\n" + _INNER, "two"),
    "honest pipeline after a body": (_post(b"Content-Length: @N\r\n") + _INNER, "two"),
    "expect continue": (_post(b"Content-Length: @N\r\nExpect: 100-continue\r\n"), "queued"),
    "header names in capitals": (_post(b"CONTENT-LENGTH: @N\r\n"), "queued"),
    "length with zeros before it": (_post(b"Content-Length: 000@N\r\n"), "queued"),
    "spaces around a value": (_post(b"Content-Length:  \t @N \t \r\n"), "queued"),
    "absolute target": (b"GET http://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n", "one"),
    # -- length and chunks together (CL.TE, TE.CL)
    "length and chunks": (_post(b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", _INNER_AS_CHUNK), "refused"),
    "chunks and length": (_post(b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", _INNER_AS_CHUNK), "refused"),
    "chunks and length zero": (_post(b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", _INNER_AS_CHUNK), "refused"),
    "get with length and chunks": (_GET + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + _INNER_AS_CHUNK, "refused"),
    "chunks twice": (_post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", _INNER_AS_CHUNK), "refused"),
    "chunked, chunked": (_post(b"Transfer-Encoding: chunked, chunked\r\n", _INNER_AS_CHUNK), "refused"),
    "chunks, then identity": (_post(b"Transfer-Encoding: chunked, identity\r\n", _INNER_AS_CHUNK), "refused"),
    "chunks, identity in a second header": (_post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", _INNER_AS_CHUNK), "refused"),
    "xchunked": (_post(b"Transfer-Encoding: xchunked\r\n", _INNER_AS_CHUNK), "refused"),
    "chunkedx": (_post(b"Transfer-Encoding: chunkedx\r\n", _INNER_AS_CHUNK), "refused"),
    "quoted chunked": (_post(b'Transfer-Encoding: "chunked"\r\n', _INNER_AS_CHUNK), "refused"),
    "chunked with a parameter": (_post(b"Transfer-Encoding: chunked;a=b\r\n", _INNER_AS_CHUNK), "refused"),
    "empty transfer encoding": (_post(b"Transfer-Encoding:\r\nContent-Length: @N\r\n"), "queued"),
    "unknown coding before chunked": (_post(b"Transfer-Encoding: cow, chunked\r\n", b"0\r\n\r\n"), "one"),
    "gzip before chunked": (_post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), "one"),
    "gzip and length": (_post(b"Transfer-Encoding: gzip\r\nContent-Length: @N\r\n"), "refused"),
    "space before the colon of transfer encoding": (_post(b"Transfer-Encoding : chunked\r\n", _INNER_AS_CHUNK), "refused"),
    "tab before chunked": (_post(b"Transfer-Encoding:\tchunked\r\n", b"0\r\n\r\n"), "one"),
    "vertical tab before chunked": (_post(b"Transfer-Encoding:\x0bchunked\r\n", _INNER_AS_CHUNK), "refused"),
    "transfer encoding folded": (_post(b"Transfer-Encoding:\r\n chunked\r\n", _INNER_AS_CHUNK), "refused"),
    "transfer encoding after a bare CR": (_post(b"Foo: bar\rTransfer-Encoding: chunked\r\n", _INNER_AS_CHUNK), "refused"),
    "transfer encoding after a bare LF": (_post(b"Foo: bar\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", _INNER_AS_CHUNK), "refused"),
    "underscore for a dash": (_post(b"Transfer_Encoding: chunked\r\nContent-Length: @N\r\n"), "queued"),
    "chunks in HTTP/1.0": (_HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n" + _INNER_AS_CHUNK, "one"),
    # -- lengths
    "two lengths, equal": (_post(b"Content-Length: @N\r\nContent-Length: @N\r\n"), "refused"),
    "two lengths, different": (_post(b"Content-Length: @N\r\nContent-Length: 0\r\n"), "refused"),
    "lengths in a list, equal": (_post(b"Content-Length: @N, @N\r\n"), "refused"),
    "lengths in a list, different": (_post(b"Content-Length: 0, @N\r\n"), "refused"),
    "plus": (_post(b"Content-Length: +@N\r\n"), "refused"),
    "minus": (_post(b"Content-Length: -1\r\n"), "refused"),
    "minus zero": (_post(b"Content-Length: -0\r\n", _INNER), "refused"),
    "hexadecimal": (_post(b"Content-Length: 0x10\r\n"), "refused"),
    "a fraction": (_post(b"Content-Length: @N.0\r\n"), "refused"),
    "an exponent": (_post(b"Content-Length: 1e1\r\n"), "refused"),
    "an underscore": (_post(b"Content-Length: 1_0\r\n"), "refused"),
    "a word": (_post(b"Content-Length: many\r\n"), "refused"),
    "nothing": (_post(b"Content-Length:\r\n"), "refused"),
    "a space inside": (_post(b"Content-Length: 1 0\r\n"), "refused"),
    "a tab inside": (_post(b"Content-Length: 1\t0\r\n"), "refused"),
    "digits of another script": (_post("Content-Length: ٤\r\n".encode()), "refused"),
    "more than 64 bits": (_post(b"Content-Length: 99999999999999999999999999\r\n"), "refused"),
    "2^64": (_post(b"Content-Length: 18446744073709551616\r\n", _INNER), "refused"),
    "2^64 + the length": (_post(b"Content-Length: 18446744073709551621\r\n"), "refused"),
    "larger than is taken": (_post(b"Content-Length: 99999999999\r\n"), "ignored"),
    "space before the colon": (_post(b"Content-Length : @N\r\n"), "refused"),
    "length folded": (_post(b"Content-Length:\r\n @N\r\n"), "refused"),
    "length with NUL": (_post(b"Content-Length: @N\x00\r\n"), "refused"),
    "a get with a body": (_GET + b"Content-Length: 35\r\n\r\n" + _INNER, "one"),
    "no length, but a body": (_post(b"", b"GARBAGE\r\n\r\n"), "one"),
    # -- lines and headers
    "bare LF everywhere": (_post(b"Content-Length: @N\r\n").replace(b"\r\n", b"\n"), "refused"),
    "bare LF after the request line": (_GET.replace(b"1.1\r\n", b"1.1\n") + b"\r\n", "refused"),
    "bare CR in a value": (_GET + b"X-A: a\rb\r\n\r\n", "refused"),
    "CR CR LF": (_GET + b"X-A: a\r\r\n\r\n", "refused"),
    "NUL in a value": (_GET + b"X-A: a\x00b\r\n\r\n", "refused"),
    "NUL in a name": (_GET + b"X-\x00A: a\r\n\r\n", "refused"),
    "a folded header": (_GET + b"X-A: a\r\n b\r\n\r\n", "refused"),
    "a fold before the first header": (b"GET /healthz HTTP/1.1\r\n Host: x\r\n\r\n", "refused"),
    "a header without a colon": (_GET + b"X-A\r\n\r\n", "refused"),
    "a header without a name": (_GET + b": a\r\n\r\n", "refused"),
    "a space in a name": (_GET + b"X A: a\r\n\r\n", "refused"),
    "a bracket in a name": (_GET + b"X(A: a\r\n\r\n", "refused"),
    "a high byte in a name": (_GET + b"X\xff: a\r\n\r\n", "refused"),
    "high bytes in a value": (_GET + b"X-A: \xff\xfe\r\n\r\n", "one"),
    "an expectation that is no text": (_GET.replace(b"viewer", b"nowhere") + b"Expect: \xff\xfe\r\n\r\n", "one"),
    "a name of 9,000 bytes": (_GET + b"X" * 9_000 + b": a\r\n\r\n", "refused"),
    "a value of 9,000 bytes": (_GET + b"X-A: " + b"a" * 9_000 + b"\r\n\r\n", "refused"),
    "a target of 9,000 bytes": (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", "refused"),
    "200 headers": (_GET + b"".join(b"X-%d: a\r\n" % i for i in range(200)) + b"\r\n", "refused"),
    "empty lines before the request": (b"\r\n\r\n" + _GET + b"\r\n", "one"),
    # -- host
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", "refused"),
    "two hosts": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "refused"),
    "an empty host": (b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", "one"),
    "a host with a path": (b"GET /healthz HTTP/1.1\r\nHost: x/../y\r\n\r\n", "one"),
    "a host with a space": (b"GET /healthz HTTP/1.1\r\nHost: x y\r\n\r\n", "one"),
    "target and host differ": (b"GET http://y/healthz HTTP/1.1\r\nHost: x\r\n\r\n", "one"),
    # -- request lines
    "no version": (b"GET /healthz\r\n\r\n", "one"),
    "HTTP/0.9": (b"GET /healthz HTTP/0.9\r\nHost: x\r\n\r\n", "one"),
    "HTTP/2.0": (b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n", "one"),
    "HTTP/1.2": (b"GET /healthz HTTP/1.2\r\nHost: x\r\n\r\n", "refused"),
    "HTTP/1.10": (b"GET /healthz HTTP/1.10\r\nHost: x\r\n\r\n", "refused"),
    "http in small letters": (b"GET /healthz http/1.1\r\nHost: x\r\n\r\n", "refused"),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "refused"),
    "a greeting in TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "refused"),
    "two spaces": (b"GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "one"),
    "tabs for spaces": (b"GET\t/healthz\tHTTP/1.1\r\nHost: x\r\n\r\n", "refused"),
    "a method in small letters": (b"get /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "refused"),
    "an unknown method": (b"SMUGGLE /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "refused"),
    "a bracket in the method": (b"G(T /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "refused"),
    "a target with a space": (b"GET /health z HTTP/1.1\r\nHost: x\r\n\r\n", "refused"),
    "a target with CR": (b"GET /health\rz HTTP/1.1\r\nHost: x\r\n\r\n", "refused"),
    "a target without a slash": (b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n", "refused"),
    "a target that climbs": (b"GET /v1/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "one"),
    "a target that climbs, encoded": (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "one"),
    "a target with half an escape": (b"GET /v1/%z%1 HTTP/1.1\r\nHost: x\r\n\r\n", "one"),
    "a target with NUL, encoded": (b"GET /v1/runs/a/b/%00 HTTP/1.1\r\nHost: x\r\n\r\n", "one"),
    "a target that is not UTF-8": (b"GET /v1/runs/%ff/%fe/%fd HTTP/1.1\r\nHost: x\r\n\r\n", "one"),
    "a target with a new line, encoded": (b"GET /v1/%0d%0aX:%20y HTTP/1.1\r\nHost: x\r\n\r\n", "one"),
    "connect": (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", "one"),
    "trace": (b"TRACE /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "one"),
    "options of all": (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "one"),
    "an upgrade": (_GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "ignored"),
    "a web socket": (_GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", "one"),
    "connection names a header": (_post(b"Content-Length: @N\r\nConnection: Content-Length, close\r\n"), "one"),
    "keep alive in HTTP/1.0": (_GET.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\n\r\n", "one"),
    "an expectation that is not ASCII": (_post(b"Content-Length: @N\r\nExpect: 10\xdb-continue\r\n"), "one"),
    "an expectation that nobody knows": (_post(b"Content-Length: @N\r\nExpect: magic\r\n"), "one"),
    # -- chunks
    "an empty body in chunks": (_chunks(b"0\r\n\r\n"), "one"),
    "a chunk extension": (_chunks(b"1;a=b\r\nx\r\n0\r\n\r\n"), "one"),
    "a long chunk extension": (_chunks(b"1;" + b"a" * 20_000 + b"\r\nx\r\n0\r\n\r\n"), "one"),
    "a chunk extension with LF": (_chunks(b"1;a\nb\r\nx\r\n0\r\n\r\n@INNER"), "refused"),
    "trailers": (_chunks(b"1\r\nx\r\n0\r\nX-A: b\r\n\r\n"), "one"),
    "trailers that set a length": (_chunks(b"1\r\nx\r\n0\r\nContent-Length: 50\r\n\r\n"), "one"),
    "trailers without end": (_chunks(b"0\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n"), "refused"),
    "a size that is not a number": (_chunks(b"z\r\nx\r\n0\r\n\r\n"), "refused"),
    "a size with 0x": (_chunks(b"0x1\r\nx\r\n0\r\n\r\n"), "refused"),
    "a negative size": (_chunks(b"-1\r\nx\r\n0\r\n\r\n"), "refused"),
    "a size with a plus": (_chunks(b"+1\r\nx\r\n0\r\n\r\n"), "refused"),
    "a size of nothing": (_chunks(b"\r\nx\r\n0\r\n\r\n"), "refused"),
    "a size of 16 digits": (_chunks(b"ffffffffffffffff\r\nx\r\n0\r\n\r\n"), "waits"),
    "a size of 17 digits": (_chunks(b"10000000000000001\r\nx\r\n0\r\n\r\n@INNER"), "refused"),
    "a size with a space": (_chunks(b"1 \r\nx\r\n0\r\n\r\n"), "refused"),
    "bare LF after a size": (_chunks(b"1\nx\r\n0\r\n\r\n@INNER"), "refused"),
    "a chunk longer than its size": (_chunks(b"1\r\nxx\r\n0\r\n\r\n@INNER"), "refused"),
    "a chunk without its end": (_chunks(b"1\r\nx0\r\n\r\n@INNER"), "refused"),
    "another end of a chunk": (_chunks(b"1\r\nxAA0\r\n\r\n@INNER"), "refused"),
    # -- broken off
    "half a request line": (b"GET /hea", "waits"),
    "half a header": (_GET + b"X-A: b", "waits"),
    "no empty line": (_GET, "waits"),
    "half a body": (_post(b"Content-Length: @N\r\n", b"half"), "waits"),
    "half a chunk": (_chunks(b"64\r\nhalf"), "waits"),
    "no last chunk": (_chunks(b"1\r\nx\r\n"), "waits"),
}  # fmt: skip
