"""Routes that upload and download artifact files."""

from __future__ import annotations

from aiohttp import web

from penstock_common.http.openapi import Operation, Raw
from penstock_common.http.routes import Routes
from penstock_compat.wandb.artifacts.addresses import BLOB_PATH, CONTENT_PATH, MANIFEST_PATH
from penstock_compat.wandb.artifacts.transfers import ArtifactTransfers
from penstock_compat.wandb.dependencies import WandbDependencies

__all__ = ["OPERATIONS", "add_artifact_routes"]

_V1_PATH = "/artifacts/{entity}/{md5}"
_V2_PATH = "/artifactsV2/{region}/{entity}/{project}/{collection}/{birth}/{md5}/{name}"
_BYTES = "application/octet-stream"
_BODY = Raw(_BYTES, "The file's content.")
_ANSWERS = {
    200: Raw(_BYTES, "The file's content."),
    206: Raw(_BYTES, "The part requested by `Range`."),
}


def add_artifact_routes(app: web.Application, deps: WandbDependencies) -> None:
    """Add the routes that upload and download artifact files."""
    transfers = ArtifactTransfers(deps)
    md5, sha256 = "{md5:[0-9a-f]{32}}", "{sha256:[0-9a-f]{64}}"
    routes = Routes(app)
    routes.put(CONTENT_PATH.replace("{md5}", md5), transfers.put_content, signed=True)
    manifest = MANIFEST_PATH.replace("{number}", r"{number:\d{1,18}}")
    routes.put(manifest, transfers.put_manifest, signed=True)
    blob = BLOB_PATH.replace("{sha256}", sha256).replace("{size}", r"{size:\d{1,18}}")
    routes.get(blob, transfers.get_blob)
    routes.get(_V1_PATH.replace("{md5}", md5), transfers.get_content)
    # If a version's first one is unknown, the segment is empty.
    v2 = _V2_PATH.replace("{birth}", "{birth:[^/]*}").replace("{md5}", md5)
    routes.get(v2, transfers.get_content)


OPERATIONS = (
    Operation(
        "PUT", CONTENT_PATH, tag="wandb",
        summary="Upload an artifact file to a signed URL from GraphQL.",
        body=_BODY, answers={200: None}, errors=(400, 403, 408, 413, 503), needs_key=False,
    ),
    Operation(
        "PUT", MANIFEST_PATH, tag="wandb",
        summary="Upload an artifact's manifest to a signed URL from GraphQL.",
        body=_BODY, answers={200: None}, errors=(400, 403, 404, 408, 413, 503), needs_key=False,
    ),
    Operation(
        "GET", BLOB_PATH, tag="wandb",
        summary="Download an artifact file from a signed URL from GraphQL.",
        answers=_ANSWERS, errors=(403, 416), needs_key=False,
    ),
    Operation(
        "GET", _V1_PATH, tag="wandb",
        summary="Download an artifact file of an entity by its MD5.",
        answers=_ANSWERS, errors=(401, 404, 416),
    ),
    Operation(
        "GET", _V2_PATH, tag="wandb",
        summary="Download an artifact file of an entity by its MD5; the rest of the path is ignored.",
        answers=_ANSWERS, errors=(401, 404, 416),
    ),
)  # fmt: skip
