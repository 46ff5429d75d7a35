"""A catalog for tests that need one."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.catalogs import new_catalog_file


@pytest.fixture
async def catalog_url(tmp_path: Path) -> str:
    """A catalog of the test's own that is set up and has no rows."""
    return await new_catalog_file(tmp_path / "catalog.db")
