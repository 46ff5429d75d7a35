"""Manifests are read entry by entry: the same files as their JSON says, bounded memory, only refusals."""

from __future__ import annotations

import io
import json
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized

from penstock.errors import Rejected
from penstock_compat.wandb.artifacts import manifest_text, manifests
from penstock_compat.wandb.artifacts.manifests import digest_of, merged_manifest, read_manifest

ENTRY = {"digest": "1B2M2Y8AsgTpgAmY7PhCfg==", "size": 3}


def manifest(contents: Any, **fields: Any) -> bytes:
    return json.dumps({"version": 1, "storagePolicy": "x", **fields, "contents": contents}).encode()


def read(content: bytes) -> dict[str, tuple[str, int, str | None]]:
    files = read_manifest(io.BytesIO(content))
    return {each.path: (each.digest, each.size_bytes, each.reference) for each in files}


def merged(*parts: bytes) -> bytes:
    return b"".join(merged_manifest([io.BytesIO(part) for part in parts]))


paths = st.text(min_size=1, max_size=8).map(
    lambda text: "f" + text.replace("..", "").replace("\0", "")
)
entries = st.fixed_dictionaries(
    {"digest": st.text(max_size=5)},
    optional={
        "size": st.integers(-1, 2**70),
        "ref": st.none() | st.text(max_size=5),
        "extra": st.dictionaries(
            st.text(max_size=3), st.floats() | st.text(max_size=3), max_size=2
        ),
    },
)


@sized(2_000)
@given(st.dictionaries(paths, entries, max_size=5), st.integers(1, 40), st.booleans())
def test_the_files_are_those_that_the_json_lists(
    contents: dict[str, Any], chunk: int, is_ascii: bool
) -> None:
    text = json.dumps({"contents": contents, "version": 1, "more": [1, {}]}, ensure_ascii=is_ascii)
    content = text.encode(errors="replace")
    before = manifest_text._CHUNK_BYTES
    manifest_text._CHUNK_BYTES = chunk  # every place is once the end of a piece
    try:
        found, again = read(content), read(merged(content))
    finally:
        manifest_text._CHUNK_BYTES = before
    assert found == again
    assert list(found) == [path.encode(errors="replace").decode() for path in contents]
    assert [each[2] for each in found.values()] == [each.get("ref") for each in contents.values()]


def test_a_later_manifest_wins() -> None:
    first = manifest({"a": ENTRY, "b": ENTRY})
    second = manifest({"b": {**ENTRY, "size": 7}, "c": ENTRY}, storagePolicy="later")
    both = merged(first, second)
    assert {path: each[1] for path, each in read(both).items()} == {"a": 3, "b": 7, "c": 3}
    assert json.loads(both)["storagePolicy"] == "later"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"1", b"{}", b"null", b'{"version":1}', b'{"version":2,"contents":{}}', b"\xff",
        b'{"version":1,"contents":[]}', b'{"version":1,"contents":{}', b'{"version":1,"contents":{}}x',
        b'{"version":1,"contents":{"a":1}}', b'{"version":1,"contents":{"a"}}', b'{"version":1 "contents":{}}',
        b'{"version":1,"contents":{"../a":{"digest":""}}}', b'{"version":1,"contents":{"a":{"digest":1}}}',
        b'{"version":1,"contents":{"":{"digest":""}}}', b'{"version":1,"contents":{1:{"digest":""}}}',
        b'{"version":1,"contents":{"a":{"digest":"","x":' + b"[" * 100_000, b'{"a":' * 100_000,
        b'{"version":1,"contents":{"a":{"digest":"","x":"' + b"y" * 70_000 + b'"}}}',
        b'{"version":1,"contents":{"a":{"digest":"","size":' + b"9" * 60_000 + b"x",
        b'{"version":1,"contents":{"' + b"a" * 3_000 + b'":{"digest":""}}}', b'{"version":1,"contents":{"a":',
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(Rejected) as refused:
        read(content)
    assert refused.value.code == "bad_manifest"
    with pytest.raises(Rejected):
        read(merged(content))


@sized(5_000)
@given(st.binary(max_size=40), st.integers(0, 80))
def test_any_bytes_are_read_or_refused(noise: bytes, at: int) -> None:
    good = manifest({"a": ENTRY, "b": {**ENTRY, "ref": "s3://x"}})
    for content in (noise, good[:at] + noise, good[:at] + noise + good[at:]):
        with suppress(Rejected):
            read(content)


@pytest.mark.heavy
@pytest.mark.smoke
def test_memory_is_that_of_the_files_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {f"folder/{at:06}.bin": {**ENTRY, "extra": {"x": "y" * 900}} for at in range(5_000)}
    content = manifest(contents)
    tracemalloc.start()
    try:
        files = read_manifest(io.BytesIO(content))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(files) == 5_000
    assert peak < len(content) + 4 * manifest_text._CHUNK_BYTES
    monkeypatch.setattr(manifests, "MAX_FILES", 4_999)
    with pytest.raises(Rejected) as refused:
        read(content)
    assert refused.value.status == 413


@pytest.mark.heavy
@pytest.mark.smoke
def test_the_digest_is_the_client_s() -> None:
    import wandb  # noqa: PLC0415
    from wandb.sdk.artifacts.artifact_manifests.artifact_manifest_v1 import (  # noqa: PLC0415
        ArtifactManifestV1,
    )

    contents = {"b": ENTRY, "a/c": ENTRY}
    theirs = ArtifactManifestV1.from_manifest_json(
        {
            "version": 1,
            "storagePolicy": "wandb-storage-policy-v1",
            "storagePolicyConfig": {},
            "contents": contents,
        }
    )
    assert wandb.__version__
    assert digest_of(read_manifest(io.BytesIO(manifest(contents)))) == theirs.digest()
