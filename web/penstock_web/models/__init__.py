"""What the read API takes and gives, as pydantic models: one module for each kind of thing.

Requests are checked with them (`penstock_web.requests`), and the OpenAPI document and the page's
types are made from them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from penstock_common.openapi import Answered, Asked

__all__ = ["Answered", "Asked", "CommaList", "split_names"]

_NAME = re.compile(r"(?:[^,\\]|\\.?)+", re.DOTALL)
_ESCAPED = re.compile(r"\\([,\\])")


def _split(found: Any) -> Any:
    texts = [found] if isinstance(found, str) else found
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return found
    return [name for text in texts for name in split_names(text) if name]


def split_names(text: str) -> list[str]:
    """The names in `a,b`; a comma or a backslash of a name itself has a backslash before it."""
    return [_ESCAPED.sub(r"\1", name) for name in _NAME.findall(text)]


CommaList = Annotated[list[str], BeforeValidator(_split)]
"""A query parameter that lists names, `keys=a,b` or `keys=a&keys=b`. A comma within a name is `\\,`."""
