"""What happens once per data folder: the catalog is made, and the first API key is minted.

Runs as a short-lived child of the supervisor, so that the supervisor stays small.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from penstock_common.auth import mint_key
from penstock_common.settings import ServerSettings, load
from penstock_server.datafolder import write_private
from penstock_storage.connect import open_catalog

__all__ = ["prepare"]


async def prepare(settings: ServerSettings, key_file: Path) -> None:
    """Make the catalog and, if `key_file` is missing, a key that may do everything."""
    catalog = open_catalog(settings.catalog_url)
    try:
        await catalog.setup()
        if not key_file.exists():
            scopes = frozenset({"read", "write", "admin"})
            key, text = mint_key("user", settings.default_entity, scopes, settings.secret)
            await catalog.add_api_key(key, "first key")
            # The key counts only once it is written down: a crash before this mints another.
            write_private(key_file, text)
    finally:
        await catalog.close()


def main() -> None:
    """Entry: the key file's path is the only argument."""
    asyncio.run(prepare(load(ServerSettings, environ=os.environ), Path(sys.argv[1])))


if __name__ == "__main__":
    main()
