"""Signed URLs: good for what they were signed for, for as long, and for nothing else."""

from __future__ import annotations

import pytest

from penstock.errors import Rejected
from penstock_common.http.signing import Signer


def test_what_was_signed_is_let_through_by_every_process_with_the_secret() -> None:
    query = Signer("secret", lambda: 100.0).sign("PUT", "7/media/ü \ud800.png", valid_s=60)
    Signer("secret", lambda: 159.0).check("PUT", "7/media/ü \ud800.png", query)


def test_it_expires() -> None:
    query = Signer("secret", lambda: 100.0).sign("PUT", "7/a", valid_s=60)
    with pytest.raises(Rejected, match="expired") as refused:
        Signer("secret", lambda: 160.0).check("PUT", "7/a", query)
    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("method", "purpose", "changed"),
    [
        ("GET", "7/a", {}),
        ("PUT", "7/b", {}),
        ("PUT", "7/a", {"expires": "9999999999"}),
        ("PUT", "7/a", {"expires": "x"}),
        ("PUT", "7/a", {"expires": ""}),
        ("PUT", "7/a", {"signature": ""}),
        ("PUT", "7/a", {"signature": "ü\ud800"}),
    ],
)
def test_nothing_else_is_let_through(method: str, purpose: str, changed: dict[str, str]) -> None:
    signer = Signer("secret", lambda: 100.0)
    query = {**signer.sign("PUT", "7/a", valid_s=60), **changed}
    with pytest.raises(Rejected, match="signature"):
        signer.check(method, purpose, query)


def test_other_secrets_and_missing_parameters_are_refused() -> None:
    query = Signer("other", lambda: 100.0).sign("PUT", "7/a", valid_s=60)
    for given in (query, {}, {"signature": query["signature"]}):
        with pytest.raises(Rejected, match="signature"):
            Signer("secret", lambda: 100.0).check("PUT", "7/a", given)
