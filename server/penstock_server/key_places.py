"""Where `penstock key` manages API keys: in a catalog of this installation, or on a server."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from penstock.command_codes import CommandCode
from penstock.credentials import stored_key
from penstock.error_codes import ErrorCode
from penstock.errors import Rejected, Transient, from_reply
from penstock.wire import check_name
from penstock_common.http.auth import mint_key
from penstock_common.process.settings import ServerSettings, load
from penstock_server.datafolder import DataFolder
from penstock_storage.connect import open_catalog
from penstock_storage.contracts.account_rows import KeyRow
from penstock_storage.contracts.catalog import Catalog

__all__ = ["KeyPlace", "KeyRequest", "catalog_of_folder", "catalog_of_settings", "server_at"]

_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A key to create. Without an entity, the installation's. `expires_at`: µs since 1970, 0: never."""

    name: str
    entity: str | None
    scopes: frozenset[str] | None
    expires_at: int


class KeyPlace(Protocol):
    """Lists, creates and revokes keys. Every method raises `Rejected` or `Transient`."""

    async def keys(self) -> list[KeyRow]: ...

    async def create(self, new: KeyRequest) -> str:
        """Returns the key's text, which is not stored anywhere."""

    async def revoke(self, ids: Collection[str]) -> None: ...


class _CatalogPlace:
    def __init__(self, catalog: Catalog, secret: str, default_entity: str) -> None:
        self._catalog = catalog
        self._secret = secret
        self._default_entity = default_entity

    async def keys(self) -> list[KeyRow]:
        return await self._catalog.accounts.keys()

    async def create(self, new: KeyRequest) -> str:
        entity = check_name("entity", new.entity or self._default_entity)
        scopes = new.scopes or frozenset({"read", "write"})
        key, text = mint_key("user", entity, scopes, self._secret, expires_at=new.expires_at)
        await self._catalog.add_api_key(key, new.name)
        return text

    async def revoke(self, ids: Collection[str]) -> None:
        await self._catalog.accounts.revoke(ids)


@asynccontextmanager
async def catalog_of_folder(path: Path) -> AsyncIterator[KeyPlace]:
    """The catalog in a data folder, whether or not Penstock is running on it."""
    folder = DataFolder(path)
    if not folder.catalog.exists():
        raise Rejected(
            f"there is no Penstock in {folder.root}",
            code=CommandCode.NO_DATA,
            hint="Give its data folder with --data, or a server with --host.",
        )
    settings = load(ServerSettings, environ=os.environ)
    url = f"sqlite+aiosqlite:///{folder.catalog}"
    async with _opened(url, folder.secret("pepper"), settings.default_entity) as place:
        yield place


@asynccontextmanager
async def catalog_of_settings() -> AsyncIterator[KeyPlace]:
    """The catalog in PENSTOCK_CATALOG_URL, with PENSTOCK_SECRET."""
    settings = load(ServerSettings, environ=os.environ)
    if not settings.secret:
        raise Rejected("PENSTOCK_SECRET is not set", code=CommandCode.BAD_SETTINGS)
    async with _opened(settings.catalog_url, settings.secret, settings.default_entity) as place:
        yield place


@asynccontextmanager
async def _opened(url: str, secret: str, default_entity: str) -> AsyncIterator[KeyPlace]:
    catalog = open_catalog(url)
    try:
        await catalog.setup()
        yield _CatalogPlace(catalog, secret, default_entity)
    finally:
        await catalog.close()


class _ServerPlace:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = f"{url}/v1/api-keys"

    async def keys(self) -> list[KeyRow]:
        return [_row(found) for found in (await self._ask("GET"))["api_keys"]]

    async def create(self, new: KeyRequest) -> str:
        if new.entity is not None or new.scopes is not None:
            raise Rejected(
                "a key created over HTTP gets the entity and scopes of the key that creates it",
                code=CommandCode.BAD_ARGUMENT,
                hint="Omit --entity and --scopes, or run this on the server with --data.",
            )
        body: dict[str, Any] = {"label": new.name}
        if new.expires_at:
            body["expires_at"] = new.expires_at / 1e6
        return str((await self._ask("POST", body=body))["api_key"])

    async def revoke(self, ids: Collection[str]) -> None:
        for each in ids:
            await self._ask("DELETE", f"/{each}")

    async def _ask(self, method: str, path: str = "", *, body: Any = None) -> Any:
        try:
            async with self._session.request(method, self._url + path, json=body) as reply:
                answer = await reply.json(content_type=None)
                if reply.status >= 400:
                    raise from_reply(reply.status, answer, reply.headers.get("Retry-After"))
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Transient(
                f"cannot reach {self._url}: {error}", code=ErrorCode.UNAVAILABLE
            ) from None


@asynccontextmanager
async def server_at(url: str) -> AsyncIterator[KeyPlace]:
    """A server over HTTP, with the key of `penstock login` or PENSTOCK_API_KEY."""
    url = url.rstrip("/")
    key = os.environ.get("PENSTOCK_API_KEY", "").strip() or stored_key(url)
    if not key:
        raise Rejected(
            f"there is no API key for {url}",
            code=ErrorCode.NO_KEY,
            hint=f"Run `penstock login --host {url}`, or set PENSTOCK_API_KEY.",
        )
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {key}"},
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
        trust_env=True,
    ) as session:
        yield _ServerPlace(session, url)


def _row(found: dict[str, Any]) -> KeyRow:
    return KeyRow(
        id=found["id"],
        entity=found["entity"],
        scopes=frozenset(found["scopes"]),
        name=found["label"],
        created_at=_micros(found["created_at"]),
        last_used_at=_micros(found["last_used_at"]),
        expires_at=_micros(found["expires_at"]),
        revoked=found["revoked"],
    )


def _micros(seconds: float | None) -> int:
    return round((seconds or 0) * 1e6)
