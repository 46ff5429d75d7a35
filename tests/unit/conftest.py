"""A catalog for tests that need one: a copy, as setting one up takes longer than most tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import pytest_asyncio
from support.catalogs import opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def catalog_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "catalog.db"
    async with opened(f"sqlite+aiosqlite:///{path}"):
        pass
    return path


@pytest.fixture
def catalog_url(catalog_template: Path, tmp_path: Path) -> str:
    """A catalog of the test's own that is set up and has no rows."""
    path = shutil.copy(catalog_template, tmp_path / "catalog.db")
    return f"sqlite+aiosqlite:///{path}"
