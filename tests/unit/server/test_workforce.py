"""Which shards stand still: not those with a backlog, but those whose batches nobody stores."""

from __future__ import annotations

import pytest

from penstock_common.queue.worker_sign import WorkerSign
from penstock_server.workforce import Shard, stalled

WORKS = WorkerSign(idle_s={3: 0.2})


def text_of(shard: Shard, **signs: WorkerSign) -> str:
    problem = stalled([Shard(0, 0.0, "w"), shard], signs)
    return problem.text if problem is not None else ""


def test_an_old_backlog_that_is_worked_off_is_no_problem() -> None:
    assert not text_of(Shard(3, 900.0, "w"), w=WORKS)


def test_a_batch_that_came_just_now_is_no_problem() -> None:
    assert not text_of(Shard(3, 2.0, ""))
    assert not text_of(Shard(3, 2.0, "w"), w=WorkerSign(idle_s={3: 900.0}))


@pytest.mark.parametrize(
    ("owner", "sign", "reason"),
    [
        ("", None, "no worker owns them"),
        ("gone", None, "worker gone has stopped responding"),
        ("w", WorkerSign(idle_s={3: 40}), "stores none of them"),
        ("w", WorkerSign(turned_s=38, idle_s={3: 40}), "has been stuck for 38 s"),
        (
            "w",
            WorkerSign(retrying="Transient", idle_s={3: 40}),
            "keeps retrying (Transient)",
        ),
    ],
)
def test_why_a_shard_stands_still_is_said(owner: str, sign: WorkerSign | None, reason: str) -> None:
    text = text_of(Shard(3, 45.0, owner), **({"w": sign} if sign else {"w": WORKS}))
    assert text.startswith("Batches have been waiting for 45 s and none was stored (shards 3): ")
    assert reason in text


def test_all_shards_of_one_reason_are_one_problem() -> None:
    problem = stalled([Shard(number, 31.0 + number, "") for number in range(4)], {})
    assert problem is not None
    assert "34 s" in problem.text
    assert "(shards 0, 1, 2, 3): no worker owns them." in problem.text


def test_a_sign_survives_the_way_through_redis() -> None:
    sign = WorkerSign("ConnectionError", 1.5, {0: 0.1, 15: 300.0})
    assert WorkerSign.load(sign.dump()) == sign
    for damaged in (b"", b"[]", b"{}", b'{"retrying":"","turned":0,"idle":{"x":1}}', b"null"):
        assert WorkerSign.load(damaged) is None
