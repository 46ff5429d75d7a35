"""One installation for each file here: its scripts use the official client in their own processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.up import Up, running_up

_TIMEOUT_S = 120


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up")) as installation:
        yield installation


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A client takes a few seconds to start and to end: together these tests are a heavier suite, and
    each has more time than the usual minute."""
    for item in items:
        if item.path.parent.name != "wandb":
            continue
        item.add_marker(pytest.mark.heavy)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_TIMEOUT_S))
