"""All operations of the read API. `python -m penstock_web.openapi` prints their OpenAPI document, from
which the page's types are generated."""

from __future__ import annotations

import sys

import orjson

from penstock_common.http.openapi import Operation, openapi_document
from penstock_web.models import (
    alerts,
    artifacts,
    charts,
    console,
    diff,
    edits,
    export,
    files,
    history,
    ledger,
    media,
    metric_keys,
    runs,
    site,
)

__all__ = ["OPERATIONS"]

OPERATIONS: list[Operation] = [
    *site.OPERATIONS,
    *runs.OPERATIONS,
    *edits.OPERATIONS,
    *metric_keys.OPERATIONS,
    *history.OPERATIONS,
    *alerts.OPERATIONS,
    *charts.OPERATIONS,
    *media.OPERATIONS,
    *files.OPERATIONS,
    *artifacts.OPERATIONS,
    *console.OPERATIONS,
    *diff.OPERATIONS,
    *export.OPERATIONS,
    *ledger.OPERATIONS,
]

if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(openapi_document(OPERATIONS), option=orjson.OPT_INDENT_2))
