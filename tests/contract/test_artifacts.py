"""Artifacts in the catalog, on SQLite and PostgreSQL: versions, aliases, links, contents, lineage."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from support.catalogs import opened

from penstock.errors import Rejected
from penstock_storage.catalog import SqlCatalog
from penstock_storage.catalog.artifacts.artifact_catalog import Artifacts
from penstock_storage.catalog.artifacts.artifact_files import (
    FULL,
    INCREMENTAL,
    PATCH,
    KnownContent,
    Manifest,
)
from penstock_storage.catalog.artifacts.artifact_rows import COMMITTED, PENDING, File, Version
from penstock_storage.catalog.artifacts.artifact_tables import PORTFOLIO, SEQUENCE
from penstock_storage.catalog.artifacts.artifact_versions import INPUT, OUTPUT, NewVersion
from penstock_storage.catalog.copying import dump_catalog, load_catalog
from penstock_storage.contracts.interface import RunChange, RunRef

MANIFEST = hashlib.sha256(b"manifest").hexdigest()
FILES = (
    File("a b/ü.txt", "md5-of-a", 5, hashlib.sha256(b"a").hexdigest()),
    File("link", "any text", 7, None, "s3://bucket/key"),
)


@pytest.fixture
def artifacts(catalog: SqlCatalog) -> Artifacts:
    return Artifacts(catalog.database)


@pytest.fixture
async def project(catalog: SqlCatalog) -> int:
    return await catalog.ensure_project("ana", "mnist")


async def new_run(catalog: SqlCatalog, name: str) -> int:
    ref = RunRef("ana", "mnist", name)
    return (await catalog.ensure_runs([ref]))[ref].number


async def committed(
    artifacts: Artifacts, project: int, name: str = "ds", digest: str = "d0", **fields: object
) -> Version:
    """A new version with `FILES`."""
    new = NewVersion(project, "dataset", name, digest, **fields)  # type: ignore[arg-type]
    version = await artifacts.versions.begin(new, 10)
    assert version.state == PENDING
    await artifacts.versions.commit(version.number, MANIFEST, FILES, 20)
    return await again(artifacts, version)


async def again(artifacts: Artifacts, version: Version) -> Version:
    found = await artifacts.versions.get(version.number)
    assert found is not None
    return found


def aliases_of(version: Version) -> list[str]:
    return [each.alias for each in version.aliases]


async def test_a_version_is_visible_once_it_is_committed(
    artifacts: Artifacts, project: int
) -> None:
    new = NewVersion(project, "dataset", "ds", "d0", description="é", metadata='{"k": 1}',
                     aliases=("best", "v7"), tags=("t",), ttl_s=60, history_step=3)  # fmt: skip
    begun = await artifacts.versions.begin(new, 10)
    assert (begun.state, begun.index, begun.type, begun.entity) == (
        PENDING, None, "dataset", "ana",
    )  # fmt: skip
    assert await artifacts.members.find(project, "ds", "latest") is None
    for _ in range(2):  # again does no harm
        await artifacts.versions.commit(begun.number, MANIFEST, FILES, 20)
    member = await artifacts.members.find(project, "ds", "best")
    assert member is not None
    version = member.version
    assert (version.state, version.index, version.size_bytes, version.file_count) == (
        COMMITTED, 0, 12, 2,
    )  # fmt: skip
    assert (version.description, version.metadata, version.ttl_s) == ("é", '{"k": 1}', 60)
    assert (version.history_step, version.tags, version.manifest) == (3, ("t",), MANIFEST)
    assert member.aliases == ("best", "latest")  # `v7` would mean an index
    assert await artifacts.members.find(project, "ds", "v0") == member
    assert await artifacts.members.find(project, "ds", "v7") is None
    assert await artifacts.files.page(version.number) == list(FILES)
    assert await artifacts.files.page(version.number, names=["link", "no"]) == [FILES[1]]
    assert await artifacts.files.page(version.number, limit=1, after="a b/ü.txt") == [FILES[1]]


async def test_an_alias_means_one_version_and_latest_the_newest(
    artifacts: Artifacts, project: int
) -> None:
    first = await committed(artifacts, project, digest="d0", aliases=("best",))
    second = await committed(artifacts, project, digest="d1", aliases=("best", "other"))
    assert (first.index, second.index) == (0, 1)
    assert aliases_of(await again(artifacts, first)) == []
    assert aliases_of(second) == ["best", "latest", "other"]
    await artifacts.members.add_aliases(first.number, first.collection, ["other"], 30)
    assert aliases_of(await again(artifacts, first)) == ["other"]
    assert aliases_of(await again(artifacts, second)) == ["best", "latest"]
    # Where it means another version it stays.
    await artifacts.members.remove_aliases(second.number, first.collection, ["other", "best"], 40)
    assert await artifacts.collections.aliases(first.collection) == ["latest", "other"]
    for bad in ("a:b", "a/b", ""):
        with pytest.raises(Rejected, match="alias"):
            await artifacts.members.add_aliases(first.number, first.collection, [bad], 30)


async def test_content_that_is_there_makes_no_new_version(
    catalog: SqlCatalog, artifacts: Artifacts, project: int
) -> None:
    first = await committed(artifacts, project, digest="d0")
    second = await committed(artifacts, project, digest="d1")
    run = await new_run(catalog, "r1")
    new = NewVersion(project, "dataset", "ds", "d0", aliases=("back",), run=run)
    twin = await artifacts.versions.begin(new, 50)
    assert (twin.number, twin.state) == (first.number, COMMITTED)
    assert aliases_of(twin) == ["back"]
    assert [each.number for each in await artifacts.versions.of_run(run, OUTPUT)] == [first.number]
    other = await artifacts.versions.begin(
        NewVersion(project, "dataset", "ds", "d1", deduplicates=False), 60
    )
    assert other.number not in (first.number, second.number)


async def test_the_same_asking_begins_one_version(artifacts: Artifacts, project: int) -> None:
    new = NewVersion(project, "dataset", "ds", "d0", client="c1", sequence_client="s1")
    first = await artifacts.versions.begin(new, 10)
    assert (await artifacts.versions.begin(new, 20)).number == first.number
    another = NewVersion(project, "dataset", "ds", "d0", client="c2", sequence_client="s1")
    assert (await artifacts.versions.begin(another, 20)).number != first.number
    assert await artifacts.versions.of_client("c1") == (first.collection, first.number)
    assert await artifacts.versions.of_client("s1") == (first.collection, None)
    assert await artifacts.versions.of_client("nobody") == (None, None)


async def test_indices_are_handed_out_once(artifacts: Artifacts, project: int, url: str) -> None:
    """By two processes at once."""
    async with opened(url) as other:
        both = (artifacts, Artifacts(other.database))
        made = await asyncio.gather(
            *(committed(both[n % 2], project, digest=f"d{n}") for n in range(20))
        )
        assert sorted(each.index for each in made if each.index is not None) == list(range(20))
        members = await artifacts.members.page(made[0].collection)
        assert [each.index for each in members] == list(range(19, -1, -1))
        assert members[0].aliases == ("latest",)
        page = await artifacts.members.page(made[0].collection, ascending=True, after=17)
        assert [each.index for each in page] == [18, 19]


async def test_a_name_keeps_its_type_and_kind(artifacts: Artifacts, project: int) -> None:
    version = await committed(artifacts, project)
    with pytest.raises(Rejected, match="already exists with type 'dataset'"):
        await artifacts.versions.begin(NewVersion(project, "model", "ds", "x"), 1)
    with pytest.raises(Rejected, match="not a collection of links"):
        await artifacts.members.link(version, project, "ds", [], 1)
    await artifacts.collections.set_type(version.collection, "model", 30)
    assert (await again(artifacts, version)).type == "model"
    assert [each.name for each in await artifacts.collections.types(project)] == [
        "dataset", "model",
    ]  # fmt: skip
    for bad in ("", "a/b", "a\0", "x" * 2_000):
        with pytest.raises(Rejected, match="cannot name"):
            await artifacts.versions.begin(NewVersion(project, "dataset", bad, "x"), 1)


async def test_portfolios_link_versions_with_indices_of_their_own(
    catalog: SqlCatalog, artifacts: Artifacts, project: int
) -> None:
    first = await committed(artifacts, project, digest="d0")
    second = await committed(artifacts, project, digest="d1")
    elsewhere = await catalog.ensure_project("ana", "registry")
    assert await artifacts.members.link(second, elsewhere, "good", ["prod"], 30) == 0
    assert await artifacts.members.link(first, elsewhere, "good", [], 31) == 1
    assert await artifacts.members.link(second, elsewhere, "good", ["again"], 32) == 0
    portfolio = await artifacts.collections.find(elsewhere, "good")
    assert portfolio is not None
    assert (portfolio.kind, portfolio.type) == (PORTFOLIO, "dataset")
    member = await artifacts.members.find(elsewhere, "good", "latest")
    assert member is not None
    assert (member.version.number, member.index) == (first.number, 1)
    memberships = await artifacts.members.of_version(second.number)
    assert [(each.index, each.aliases) for each in memberships] == [
        (1, ("latest",)),
        (0, ("again", "prod")),
    ]
    await artifacts.members.unlink(first.number, portfolio.number, 40)
    latest = await artifacts.members.find(elsewhere, "good", "latest")
    assert latest is not None
    assert latest.version.number == second.number
    with pytest.raises(Rejected, match="where it was logged"):
        await artifacts.members.unlink(first.number, first.collection, 40)
    pending = await artifacts.versions.begin(NewVersion(project, "dataset", "ds", "p"), 1)
    with pytest.raises(Rejected, match="committed"):
        await artifacts.members.link(pending, elsewhere, "good", [], 30)


async def test_a_deleted_version_is_gone_and_its_index_is_not_used_again(
    artifacts: Artifacts, project: int
) -> None:
    first = await committed(artifacts, project, digest="d0")
    second = await committed(artifacts, project, digest="d1", aliases=("best",))
    await artifacts.members.link(second, project, "good", [], 30)
    with pytest.raises(Rejected, match=r"aliases \(best, latest"):
        await artifacts.versions.delete(second.number, 40, with_aliases=False)
    await artifacts.versions.delete(second.number, 40, with_aliases=True)
    assert await artifacts.members.find(project, "ds", "v1") is None
    assert await artifacts.members.find(project, "good", "v0") is None
    assert await artifacts.files.page(second.number) == []
    latest = await artifacts.members.find(project, "ds", "latest")
    assert latest is not None
    assert latest.version.number == first.number
    third = await committed(artifacts, project, digest="d1")  # deleted content is no twin
    assert third.index == 2
    with pytest.raises(Rejected, match="deleted"):
        await artifacts.versions.commit(second.number, MANIFEST, FILES, 50)


async def test_a_deleted_collection_takes_everything_with_it(
    catalog: SqlCatalog, artifacts: Artifacts, project: int
) -> None:
    run = await new_run(catalog, "r1")
    version = await committed(artifacts, project, client="c1", run=run, tags=("t",))
    await artifacts.members.link(version, project, "good", ["prod"], 30)
    await artifacts.collections.tag(version.collection, ["ct"], [], 30)
    await artifacts.collections.delete(version.collection)
    assert await artifacts.versions.get(version.number) is None
    assert await artifacts.collections.find(project, "ds") is None
    assert await artifacts.members.find(project, "good", "prod") is None
    assert await artifacts.versions.of_run(run, OUTPUT) == []
    assert await artifacts.versions.of_client("c1") == (None, None)
    anew = await committed(artifacts, project)
    assert (anew.index, anew.number > version.number) == (0, True)


async def test_runs_log_and_use_versions(
    catalog: SqlCatalog, artifacts: Artifacts, project: int
) -> None:
    maker, user = await new_run(catalog, "maker"), await new_run(catalog, "user")
    first = await committed(artifacts, project, digest="d0", run=maker)
    second = await committed(artifacts, project, digest="d1", run=maker)
    pending = NewVersion(project, "dataset", "ds", "d2", run=maker)
    await artifacts.versions.begin(pending, 1)
    for _ in range(2):
        await artifacts.versions.use(user, first.number, 40)
    logged = await artifacts.versions.of_run(maker, OUTPUT)
    assert [each.number for each in logged] == [first.number, second.number]
    assert await artifacts.versions.count_of_run(maker, OUTPUT) == 2
    page = await artifacts.versions.of_run(maker, OUTPUT, after=first.number)
    assert [each.number for each in page] == [second.number]
    assert [each.number for each in await artifacts.versions.of_run(user, INPUT)] == [first.number]
    assert await artifacts.versions.used_by(first.number) == [user]
    assert (await again(artifacts, first)).run == maker


async def test_contents_are_known_to_the_entity_that_uploaded_them(
    catalog: SqlCatalog, artifacts: Artifacts, project: int
) -> None:
    await catalog.ensure_project("ben", "p")
    content = KnownContent("0" * 64, 3)
    await artifacts.files.keep("ana", "m1", content, 10)
    await artifacts.files.keep("ana", "m1", KnownContent("f" * 64, 9), 20)  # the first one stays
    many = [f"no{n}" for n in range(5_000)]
    assert await artifacts.files.known("ana", [*many, "m1"]) == {"m1": content}
    assert await artifacts.files.known("ben", ["m1"]) == {}


async def test_unused_contents_are_forgotten_and_used_ones_are_not(
    catalog: SqlCatalog, artifacts: Artifacts, project: int
) -> None:
    await catalog.ensure_project("ben", "p")
    used = FILES[0].sha256
    assert used is not None
    await artifacts.files.keep("ana", "used", KnownContent(used, 5), 10)
    await artifacts.files.keep("ben", "used", KnownContent(used, 5), 10)
    await artifacts.files.keep("ana", "unused", KnownContent("0" * 64, 5), 10)
    await artifacts.files.keep("ana", "asked", KnownContent("1" * 64, 5), 10)
    version = await committed(artifacts, project)
    assert await artifacts.files.known("ana", ["asked"], used_at=99)
    assert await artifacts.files.is_used("0" * 64)
    # Of ben's, no version lists it; the blob is ana's still.
    assert sorted(await artifacts.files.forget_unused(50)) == sorted(["0" * 64, used])
    assert await artifacts.files.digests_in_use(["0" * 64, "1" * 64, used, MANIFEST]) == {
        "1" * 64, used, MANIFEST,
    }  # fmt: skip
    await artifacts.versions.delete(version.number, 60, with_aliases=True)
    assert sorted(await artifacts.files.forget_unused(100)) == sorted(["1" * 64, used])
    assert not await artifacts.files.is_used(used)
    assert not await artifacts.files.is_used(MANIFEST)


async def test_uploads_that_were_given_up_are_forgotten(artifacts: Artifacts, project: int) -> None:
    done = await committed(artifacts, project, digest="d0")
    given_up = await artifacts.versions.begin(NewVersion(project, "dataset", "ds", "d1"), 10)
    going_on = await artifacts.versions.begin(NewVersion(project, "dataset", "ds", "d2"), 90)
    await artifacts.files.add_manifest(given_up.number, "x", 10)
    assert await artifacts.versions.forget_pending(50) == 1
    found = await artifacts.versions.many([done.number, given_up.number, going_on.number])
    assert set(found) == {done.number, going_on.number}


async def test_the_last_manifest_counts_or_all_patches(artifacts: Artifacts, project: int) -> None:
    version = await artifacts.versions.begin(NewVersion(project, "dataset", "ds", "d"), 1)
    files, number = artifacts.files, version.number
    first = await files.add_manifest(number, "", 1)
    await files.fill_manifest(first, "0" * 64)
    assert await files.manifests(number) == [Manifest(FULL, None, "0" * 64)]
    second = await files.add_manifest(number, "digest", 1, kind=INCREMENTAL, base=7)
    assert await files.manifests(number) == []
    await files.fill_manifest(second, "1" * 64)
    assert await files.manifests(number) == [Manifest(INCREMENTAL, 7, "1" * 64)]
    assert await files.manifest(second) == (number, "digest", "1" * 64)
    await files.redeclare_manifest(second, "other")
    assert await files.manifest(second) == (number, "other", None)
    assert await files.manifest(second + 1) is None
    other = await artifacts.versions.begin(NewVersion(project, "dataset", "ds", "e"), 1)
    for digest in ("2" * 64, "3" * 64, None):
        patch = await files.add_manifest(other.number, "", 1, kind=PATCH)
        if digest:
            await files.fill_manifest(patch, digest)
    assert [each.sha256 for each in await files.manifests(other.number)] == ["2" * 64, "3" * 64]


async def test_several_clients_upload_one_version(artifacts: Artifacts, project: int) -> None:
    news = [
        NewVersion(project, "dataset", "ds", f"d{n}", client=f"c{n}", distributed="group")
        for n in range(3)
    ]
    numbers = {(await artifacts.versions.begin(new, 1)).number for new in news}
    assert len(numbers) == 1
    (number,) = numbers
    await artifacts.versions.commit(number, MANIFEST, FILES, 2, digest="whole")
    committed = await artifacts.versions.get(number)
    assert committed is not None
    assert committed.digest == "whole"
    new = NewVersion(project, "dataset", "ds", "d9", client="c9", distributed="group")
    following = await artifacts.versions.begin(new, 3)
    assert following.number != number
    assert (await artifacts.versions.begin(new, 3)).number == following.number


async def test_collections_are_listed_changed_and_tagged(
    artifacts: Artifacts, project: int
) -> None:
    first = await committed(artifacts, project, name="a")
    second = await committed(artifacts, project, name="b")
    collections = artifacts.collections
    assert [each.name for each in await collections.page(project)] == ["a", "b"]
    assert [each.name for each in await collections.page(project, after=first.collection)] == ["b"]
    assert await collections.page(project, type="model") == []
    assert (await collections.count(project), await collections.count(project, type="x")) == (2, 0)
    with pytest.raises(Rejected, match="already"):
        await collections.change(first.collection, 30, name="b")
    await collections.change(first.collection, 30, name="c", description="text")
    await collections.tag(first.collection, ["x", "y", "x"], [], 31)
    await collections.tag(first.collection, [], ["x"], 32)
    found = await collections.find(project, "c")
    assert found is not None
    assert (found.kind, found.description, found.tags) == (SEQUENCE, "text", ("y",))
    assert (found.entity, found.project, found.updated_at) == ("ana", "mnist", 32)
    assert await collections.get(second.collection) is not None
    await artifacts.versions.change(
        first.number, 40, {"description": "new"}, add_tags=["t1", "t2"], remove_tags=["t2"]
    )
    changed = await again(artifacts, first)
    assert (changed.description, changed.tags, changed.collection_name) == ("new", ("t1",), "c")


async def test_many_files_are_committed_at_once(artifacts: Artifacts, project: int) -> None:
    files = [File(f"f{n:06}", f"m{n}", n, f"{n:064x}") for n in range(10_001)]
    version = await artifacts.versions.begin(NewVersion(project, "dataset", "ds", "d"), 1)
    await artifacts.versions.commit(version.number, MANIFEST, files, 2)
    assert await artifacts.files.count(version.number) == 10_001
    names = [*(f"missing{n}" for n in range(2_000)), "f000001", "f010000", "f000001"]
    assert await artifacts.files.count(version.number, names=names) == 2
    assert await artifacts.files.page(version.number, limit=20_000) == files
    assert (await again(artifacts, version)).size_bytes == sum(range(10_001))


async def test_artifacts_are_in_the_catalogs_copies(
    catalog: SqlCatalog, artifacts: Artifacts, project: int, new_url: object
) -> None:
    version = await committed(artifacts, project, tags=("t",))
    lines = [line async for line in dump_catalog(catalog.database)]
    async with opened(await new_url()) as copy:  # type: ignore[operator]
        await load_catalog(copy.database, iter(lines))
        copied = Artifacts(copy.database)
        assert await copied.versions.get(version.number) == version
        assert await copied.files.page(version.number) == list(FILES)
        assert (await committed(copied, project, digest="d1")).number > version.number


async def test_artifacts_outlive_the_run_that_logged_them(
    catalog: SqlCatalog, artifacts: Artifacts, project: int
) -> None:
    maker, user = await new_run(catalog, "maker"), await new_run(catalog, "user")
    version = await committed(artifacts, project, run=maker)
    await artifacts.versions.use(user, version.number, 40)
    await catalog.delete_runs([maker, user], 50)
    left = await again(artifacts, version)
    assert (left.state, left.run) == (COMMITTED, None)
    assert await artifacts.versions.used_by(version.number) == []
    assert await artifacts.files.page(version.number) == list(FILES)


async def test_a_run_that_moves_is_still_the_one_that_logged_it(
    catalog: SqlCatalog, artifacts: Artifacts, project: int
) -> None:
    run = await new_run(catalog, "r1")
    version = await committed(artifacts, project, run=run)
    await catalog.apply_changes([RunChange(run, "w1", 1, 0, "state", {"state": "finished"})], 30)
    move = await catalog.begin_move(run, "other", 40)
    assert await catalog.finish_move(run, 50)
    assert (await again(artifacts, version)).run == move.copy
    logged = await artifacts.versions.of_run(move.copy, OUTPUT)
    assert [each.number for each in logged] == [version.number]


async def test_artifacts_go_with_their_project(
    catalog: SqlCatalog, artifacts: Artifacts, project: int
) -> None:
    version = await committed(artifacts, project, tags=("t",))
    other = await catalog.ensure_project("ana", "other")
    kept = await committed(artifacts, other)
    await artifacts.members.link(version, other, "good", [], 30)
    await catalog.delete_project(project, 50)
    assert await artifacts.versions.get(version.number) is None
    assert await artifacts.collections.count(project) == 0
    assert await artifacts.members.find(other, "good", "v0") is None
    assert await artifacts.versions.get(kept.number) == kept
