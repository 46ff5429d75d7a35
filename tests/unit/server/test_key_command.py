"""What `penstock key` makes of ids and of times."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from penstock.errors import Rejected
from penstock_common.http.auth import mint_key
from penstock_server.key_command import matching, parse_expiry
from penstock_storage.contracts.account_rows import KeyRow

NOW_S = datetime(2026, 6, 1, tzinfo=UTC).timestamp()


def row(key_id: str) -> KeyRow:
    return KeyRow(key_id, "local", frozenset({"read"}), "ci", 1, 0, 0, revoked=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12h", datetime(2026, 6, 1, 12, tzinfo=UTC)),
        (" 90D ", datetime(2026, 8, 30, tzinfo=UTC)),
        ("2w", datetime(2026, 6, 15, tzinfo=UTC)),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T12:00+02:00", datetime(2027, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_times_to_expire_at(text: str, expected: datetime) -> None:
    assert parse_expiry(text, NOW_S) == int(expected.timestamp() * 1e6)


@pytest.mark.parametrize("text", ["", "soon", "0d", "-1d", "2026-05-31", "999999w", "1.5d", "٣d"])
def test_what_is_no_time_to_come_is_refused(text: str) -> None:
    with pytest.raises(Rejected):
        parse_expiry(text, NOW_S)


def test_a_key_is_found_by_its_id_its_beginning_or_its_text() -> None:
    made, text = mint_key("user", "local", frozenset({"read"}), "pepper")
    keys = [row("aaaa111111"), row("aaaa222222"), row(made.id)]
    assert matching(keys, "aaaa111111") is keys[0]
    assert matching(keys, "aaaa2") is keys[1]
    assert matching(keys, text) is keys[2]
    assert matching(keys, f"penstock_user_{made.id}") is keys[2]
    for wrong in ("aaaa", "zzzz-", "", "penstock_user_"):
        with pytest.raises(Rejected):
            matching(keys, wrong)
    with pytest.raises(Rejected) as refused:
        matching(keys[:2], text)
    assert text.split("_")[3] not in f"{refused.value}{refused.value.hint}"
