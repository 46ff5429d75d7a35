"""A notebook's kernel: whether this is one, and a page of Penstock's shown in it."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["in_kernel", "page_frame", "show_page"]


def in_kernel() -> bool:
    """Whether this is a notebook's kernel, where the process outlives its scripts."""
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return False
    try:
        shell = ipython.get_ipython()
        return shell is not None and "terminal" not in type(shell).__module__
    except Exception:  # the seam to third-party shells
        return False


def page_frame(url: str, height: int, *, is_hidden: bool) -> str:
    """HTML that shows a page."""
    address = url.replace("&", "&amp;").replace("'", "%27").replace("<", "%3C")
    style = f"border:none;width:100%;height:{int(height)}px;{'display:none;' if is_hidden else ''}"
    return f"<iframe src='{address}' style='{style}'></iframe>"


def show_page(html: str) -> bool:
    """Show HTML below a notebook's cell; returns whether this is a notebook."""
    if not in_kernel():
        return False
    import IPython.display  # noqa: PLC0415  (a kernel has it)

    shown: Any = IPython.display
    shown.display(shown.HTML(html))
    return True
