"""API keys and sessions, in SQLite and PostgreSQL."""

from __future__ import annotations

from penstock_common.http.auth import ApiKey
from penstock_storage.contracts.account_rows import SessionRow
from penstock_storage.contracts.catalog import Catalog

READ = frozenset({"read"})


def key(key_id: str, entity: str = "ana", expires_at: int = 0) -> ApiKey:
    return ApiKey(key_id, entity, READ, b"hash", expires_at=expires_at)


async def test_keys_are_listed_used_and_revoked(catalog: Catalog) -> None:
    for each in (key("one"), key("two", expires_at=5_000), key("other", "ben")):
        await catalog.add_api_key(each, f"for {each.id}")
    accounts = catalog.accounts
    await accounts.key_used("one", 900)
    await accounts.key_used("one", 700)  # an older use that is heard of later
    await accounts.revoke(["two", "nobody"])
    rows = {row.id: row for row in await accounts.keys("ana")}
    assert rows.keys() == {"one", "two"}
    assert (rows["one"].last_used_at, rows["one"].name, rows["one"].revoked) == (
        900,
        "for one",
        False,
    )
    assert (rows["two"].expires_at, rows["two"].scopes, rows["two"].revoked) == (5_000, READ, True)
    assert {row.id for row in await accounts.keys()} == {"one", "two", "other"}
    found = await catalog.api_key("two")
    assert found is not None
    assert (found.revoked, found.expires_at) == (True, 5_000)
    assert key("x", expires_at=2_000_000).is_good(1.9)
    assert not key("x", expires_at=2_000_000).is_good(2.0)


async def test_sessions_end_alone_together_and_with_their_key(catalog: Catalog) -> None:
    await catalog.add_api_key(key("one"), "")
    accounts = catalog.accounts
    for number, key_id in enumerate(["one", "one", "one", "two", "two"]):
        await accounts.open_session(SessionRow(f"s{number}", key_id, 100, 1_000))

    async def open_now() -> set[str]:
        names = [f"s{number}" for number in range(6)]
        return {name for name in names if await accounts.session(name) is not None}

    assert await accounts.session("s0") == SessionRow("s0", "one", 100, 1_000)
    await accounts.end_session("s0")
    await accounts.end_session("s0")
    assert await open_now() == {"s1", "s2", "s3", "s4"}
    await accounts.revoke(["one"])
    assert await open_now() == {"s3", "s4"}
    await accounts.end_sessions("two")
    assert await open_now() == set()
    # What has expired is forgotten when the next one is opened.
    await accounts.open_session(SessionRow("s0", "two", 100, 200))
    await accounts.open_session(SessionRow("s5", "two", 200, 1_000))
    assert await open_now() == {"s5"}
