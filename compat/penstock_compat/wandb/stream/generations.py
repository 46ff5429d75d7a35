"""Which generation of a run a request belongs to: the client does not say, but its offsets do.

A second process may begin a run anew while the first one still logs. The lines of each go on where
its last ones ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock_compat.wandb.stream.post import Post
from penstock_storage.catalog.line_streams import LineStream

__all__ = ["pick"]


def pick(streams: Sequence[LineStream], post: Post) -> LineStream | None:
    """The stream that these lines go on with; `streams` are one client's, the newest first.

    None if there are no streams.
    """
    if not streams:
        return None
    if post.history.content:
        offset = post.history.offset
        going_on = [each for each in streams if each.history == offset]
        repeated = [each for each in streams if each.posted_at == offset]
        return (going_on + repeated + list(streams))[0]
    return streams[0]
