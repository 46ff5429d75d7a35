"""W&B's classes of data, where W&B has them: as in `penstock` itself."""

from __future__ import annotations

from typing import Any

import penstock


def __getattr__(name: str) -> Any:
    if name[:1].isupper():
        return getattr(penstock, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
