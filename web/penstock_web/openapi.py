"""All operations of the read API. `python -m penstock_web.openapi` prints their OpenAPI document, from
which the page's types are generated."""

from __future__ import annotations

import sys

import orjson

from penstock_common.http.openapi import openapi_document, operations_of
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

OPERATIONS = operations_of(
    site,
    runs,
    edits,
    metric_keys,
    history,
    alerts,
    charts,
    media,
    files,
    artifacts,
    console,
    diff,
    export,
    ledger,
)

if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(openapi_document(OPERATIONS), option=orjson.OPT_INDENT_2))
