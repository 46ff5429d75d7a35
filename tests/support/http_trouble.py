"""An HTTP front that answers some requests itself, as an overloaded server does, and lets the others
through. One request per connection, so that each is judged by itself."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from support.proxies import serving

__all__ = ["Trouble", "answer", "troubled"]

Judge = Callable[[str, str], bytes | None]
"""(method, path) -> the raw answer to give, `b""` to cut the connection, None to let it through."""


@dataclass
class Trouble:
    """`judge` and `loses` may be replaced at any time: the latter says for which paths the server's
    answer is not handed on. `seen` are the requests that met with trouble."""

    port: int = 0
    scheme: str = "http"
    judge: Judge = lambda method, path: None
    loses: Callable[[str], bool] = lambda path: False
    seen: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


def answer(status: str, *headers: str) -> bytes:
    """An empty answer of this status."""
    lines = [f"HTTP/1.1 {status}", "Content-Length: 0", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@contextmanager
def troubled(port_behind: int, tls: ssl.SSLContext | None = None) -> Iterator[Trouble]:
    """A front before the server on this port; with `tls` one that speaks https, and says so."""
    trouble = Trouble(scheme="http" if tls is None else "https")
    with serving(partial(_handle, trouble, port_behind), tls) as port:
        trouble.port = port
        yield trouble


async def _handle(
    trouble: Trouble,
    port_behind: int,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, path, _ = first.split(" ", 2)
    names = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
    body = await reader.readexactly(int(names.get("content-length", "0")))
    given = trouble.judge(method, path)
    if given is not None:
        trouble.seen.append(f"{method} {path}")
        writer.write(given)
        await writer.drain()
        return
    there, back = await asyncio.open_connection("127.0.0.1", port_behind)
    kept = [line for line in lines if line and not line.lower().startswith("connection:")]
    own = ["Connection: close", f"X-Forwarded-Proto: {trouble.scheme}"]
    back.write("\r\n".join([first, *own, *kept, "", ""]).encode() + body)
    is_lost = trouble.loses(path)
    if is_lost:
        trouble.seen.append(f"{method} {path}")
    try:
        while data := await there.read(65_536):
            if not is_lost:
                writer.write(data)
                await writer.drain()
    finally:
        back.close()
