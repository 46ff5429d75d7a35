"""A run's files: listing, deletion, and URLs for uploads and downloads.

Uploads and downloads carry no key: their URLs are signed for one method, run and name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_common.http.signing import Signer
from penstock_compat.wandb.graphql.nodes import Node, connection, field
from penstock_compat.wandb.ids import decode_id, encode_id
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.values import timestamp
from penstock_storage.catalog.runs.run_files import RunFile, file_name, is_file_name
from penstock_storage.contracts.interface import RunRef, RunRow

__all__ = ["FILE_PATH", "FilesMutations", "FilesOfRun", "purpose"]

FILE_PATH = "/wandb/files/{number}/{name:.+}"
"""The path for uploads and downloads; the number is the run's."""

_VALID_S = 24 * 3600
_MAX_FILES = 10_000


def purpose(number: int, name: str) -> str:
    """What a URL is signed for."""
    return f"run {number}/{name}"


def _address(context: RequestContext, method: str, number: int, name: str) -> str:
    signer, key = Signer(context.deps.secret), context.principal.key
    query = signer.sign(method, purpose(number, name), valid_s=_VALID_S, key=key)
    path = quote(name, safe="/")
    parameters = "&".join(f"{key}={value}" for key, value in query.items())
    return f"{context.base_url}/wandb/files/{number}/{path}?{parameters}"


class FileNode(Node):
    """A file of a run."""

    typename = "File"

    def __init__(self, context: RequestContext, row: RunRow, file: RunFile) -> None:
        self.context = context
        self.row = row
        self.file = file

    @field
    def id(self) -> str:
        return encode_id("File", f"{self.row.number}/{self.file.name}")

    @field
    def name(self) -> str:
        return self.file.name

    @field
    def url(self, upload: bool = False) -> str:
        if upload:
            self.context.entity(self.row.entity)
        return _address(self.context, "PUT" if upload else "GET", self.row.number, self.file.name)

    @field
    def direct_url(self) -> str:
        return self.url()

    @field
    def size_bytes(self) -> int:
        return self.file.size_bytes

    @field
    def mimetype(self) -> str:
        return self.file.mimetype

    @field
    def updated_at(self) -> str:
        return timestamp(self.file.updated_at)

    @field
    def md5(self) -> str:
        return self.file.md5

    @field
    def digest(self) -> str:
        return self.file.md5


class FilesOfRun(Node):
    """A run's files, by name."""

    context: RequestContext
    row: RunRow

    _listed: Mapping[str, Any] = {}

    def selected(self, fields: Mapping[str, Mapping[str, Any]]) -> None:
        self._listed = fields.get("files", {})

    @field
    async def file_count(self) -> int:
        """The number of the run's files, or, next to `files`, of those it lists: clients take it for the
        length of the list."""
        return await self.context.deps.files.count(
            self.row.number,
            names=_possible(self._listed.get("names")),
            pattern=self._listed.get("pattern") or None,
        )

    @field
    async def files(
        self,
        names: Sequence[str] | None = None,
        after: str | None = None,
        first: int | None = None,
        pattern: str | None = None,
    ) -> dict[str, Any]:
        """At most `first` files after the cursor `after`. Without names: all of them."""
        most = min(max(first if first is not None else 50, 0), _MAX_FILES)
        found = await self.context.deps.files.list(
            self.row.number,
            names=_possible(names),
            pattern=pattern or None,
            after=after or None,
            limit=most + 1,
        )
        page = found[:most]
        return connection(
            "File",
            [FileNode(self.context, self.row, file) for file in page],
            [file.name for file in page],
            has_next=len(found) > len(page),
        )


def _possible(names: Sequence[str] | None) -> list[str] | None:
    """Valid file names in their stored form; None if none were given, which means all."""
    return [file_name(name) for name in names if is_file_name(name)] if names else None


class FilesMutations(Node):
    """Root fields for creating and deleting files."""

    context: RequestContext

    @field
    async def create_run_files(self, input: dict[str, Any]) -> dict[str, Any]:
        """An upload URL for each name; files appear once they are uploaded."""
        names = input.get("files")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise Rejected("files must be a list of names", code=ErrorCode.BAD_FIELD, hint="")
        ref = RunRef(
            self.context.entity(input.get("entityName")),
            str(input.get("projectName") or ""),
            str(input.get("runName") or ""),
        )
        row = await self.context.deps.catalog.run(ref)
        if row is None:
            raise Rejected(f"could not find run {'/'.join(ref)}", code=ErrorCode.NOT_FOUND)
        return {
            "__typename": "CreateRunFilesPayload",
            "runID": encode_id("Run", row.number),
            "uploadHeaders": [],
            "files": [
                {
                    "__typename": "File",
                    "name": name,
                    "uploadUrl": _address(self.context, "PUT", row.number, file_name(name)),
                }
                for name in names
            ],
        }

    @field
    async def delete_files(self, input: dict[str, Any]) -> dict[str, Any]:
        """Delete files, all of which must belong to runs that the key may write to."""
        by_run: dict[int, list[str]] = {}
        for id in input.get("files") or []:
            which, _, name = decode_id("File", id).partition("/")
            by_run.setdefault(int(which), []).append(name)
        rows = await self.context.deps.catalog.run_rows(list(by_run))
        for number in by_run:
            row = rows.get(number)
            if row is None or not self.context.principal.may_write(row.entity):
                raise Rejected("could not find these files", code=ErrorCode.NOT_FOUND)
        for number, names in by_run.items():
            await self.context.deps.files.delete(number, names)
        return {"__typename": "DeleteFilesPayload", "success": True}
