"""Pydantic models of the read API's requests and answers, one module per subject.

Each module also declares its subject's operations. They check requests (`penstock_web.requests`) and
generate the OpenAPI document and the page's types.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from penstock_common.http.openapi import Answered, Asked

__all__ = ["Answered", "Asked", "CommaList", "split_names"]

_NAME = re.compile(r"(?:[^,\\]|\\.?)+", re.DOTALL)
_ESCAPED = re.compile(r"\\([,\\])")


def _split(found: Any) -> Any:
    texts = [found] if isinstance(found, str) else found
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return found
    return [name for text in texts for name in split_names(text) if name]


def split_names(text: str) -> list[str]:
    """The names in `a,b`; a comma or backslash in a name is escaped with a backslash."""
    return [_ESCAPED.sub(r"\1", name) for name in _NAME.findall(text)]


CommaList = Annotated[list[str], BeforeValidator(_split)]
"""A query parameter with several names, `keys=a,b` or `keys=a&keys=b`. A comma in a name is `\\,`."""
