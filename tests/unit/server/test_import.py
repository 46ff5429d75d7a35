"""The `penstock` command is quick, though the server is installed: it imports what a command needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.catalogs import new_catalog_file
from support.marks import SMOKE

pytestmark = SMOKE

# Each takes longer to import than `penstock status` takes to run.
HEAVY = {"aiohttp", "numpy", "pydantic", "redis", "sqlalchemy"}


def modules_of(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('\\n', *sys.modules)"],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [["--help"], ["up", "--help"], ["key", "list", "--help"]])
def test_help_imports_no_server(arguments: list[str]) -> None:
    code = (
        "from contextlib import suppress\nfrom penstock.cli import main\n"
        f"with suppress(SystemExit): main({arguments})"
    )
    assert "penstock_server.cli" in (found := modules_of(code))
    assert not HEAVY & found


@pytest.mark.parametrize("command", ["up", "store", "health"])
def test_the_client_alone_says_what_a_server_command_needs(command: str) -> None:
    """The wheel holds the server's code too, which cannot run without what the extra installs."""
    code = (
        "import sys; sys.modules['aiohttp'] = None\n"
        f"from penstock.cli import main; sys.exit(main(['{command}']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"penstock {command} needs aiohttp: pip install 'penstock[server]'" in done.stderr


def test_the_supervisor_imports_no_catalog() -> None:
    """It runs as long as the server does, and needs no client of the database, the queue or the store."""
    found = modules_of("import penstock_server.up_command")
    assert "penstock_server.supervisor" in found
    assert not {"sqlalchemy", "numpy", "redis", "penstock_storage.catalog"} & found


def test_the_store_imports_no_queue() -> None:
    found = modules_of("import penstock_storage.embedded.store_http")
    assert "penstock_common.process.metrics" in found
    assert not {"sqlalchemy", "numpy", "redis", "psutil"} & found


async def test_servers_load_what_few_need_when_it_is_needed(tmp_path: Path) -> None:
    """Alembic upgrades a catalog that is not current; GraphQL is for the official client."""
    url = await new_catalog_file(tmp_path / "catalog.db")
    found = modules_of(
        "import asyncio, penstock_server.gateway, penstock_workers.main\n"
        "from penstock_storage.connect import open_catalog\n"
        "async def opened():\n"
        f"    catalog = open_catalog({url!r})\n"
        "    await catalog.setup()\n"
        "    await catalog.close()\n"
        "asyncio.run(opened())"
    )
    assert "penstock_storage.catalog.revision" in found
    assert not {"alembic", "graphql"} & found
