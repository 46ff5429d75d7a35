"""First start of a data folder: creates the catalog and the first API key.

Runs as a short-lived child of the supervisor, so that the supervisor stays small.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

from sqlalchemy.engine import make_url

from penstock_common.http.auth import known_key, mint_key
from penstock_common.process import logs
from penstock_common.process.settings import ServerSettings, load
from penstock_server.datafolder import write_private
from penstock_storage.connect import open_catalog
from penstock_storage.contracts.catalog import Catalog
from penstock_storage.damage.salvage import damage_of, salvage

__all__ = ["prepare"]

_SCOPES = frozenset({"read", "write", "admin"})
_FIRST_KEY = "first key"


async def prepare(settings: ServerSettings, key_file: Path) -> None:
    """Create the catalog, repair it if its file is damaged, and, if `key_file` is missing, create a key
    with all rights."""
    _mend(settings.catalog_url)
    catalog = open_catalog(settings.catalog_url)
    try:
        await catalog.setup()
        if key_file.exists():
            await _keep_key(catalog, settings, key_file.read_text().strip())
        else:
            key, text = mint_key("user", settings.default_entity, _SCOPES, settings.secret)
            await catalog.add_api_key(key, _FIRST_KEY)
            # The key is valid only once it is in the file: a crash before this creates another.
            write_private(key_file, text)
    finally:
        await catalog.close()


def _mend(url: str) -> None:
    parts = make_url(url)
    if parts.get_backend_name() == "sqlite" and parts.database:
        path = Path(parts.database)
        if damage := damage_of(path):
            done = salvage(path, damage)
            logging.getLogger(__name__).error("catalog_damaged detail=%s", done)


async def _keep_key(catalog: Catalog, settings: ServerSettings, text: str) -> None:
    """The key in the file stays valid, even if the catalog has lost it."""
    key = known_key(text, settings.default_entity, _SCOPES, settings.secret)
    if key is not None and await catalog.api_key(key.id) is None:
        await catalog.add_api_key(key, _FIRST_KEY)


def main() -> None:
    """Entry point; the only argument is the key file's path."""
    settings = load(ServerSettings, environ=os.environ)
    logs.setup("first_start", "WARNING", secrets=settings.secrets)
    asyncio.run(prepare(settings, Path(sys.argv[1])))


if __name__ == "__main__":
    main()
