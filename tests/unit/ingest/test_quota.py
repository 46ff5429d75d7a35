"""A project's points per second: bursts, debts, and how long to wait."""

from __future__ import annotations

import asyncio

import pytest

from penstock.errors import Transient
from penstock_common.http.errors import error_response
from penstock_ingest.quota import OverQuota, Quota

NOISY, QUIET = ("team", "noisy"), ("team", "quiet")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def refused(quota: Quota, points: int = 1) -> Transient:
    with pytest.raises(Transient) as caught:
        quota.take(NOISY, points)
    return caught.value


def test_a_burst_of_ten_seconds_is_let_in_and_then_the_rate() -> None:
    clock = Clock()
    quota = Quota(100, clock)
    for _ in range(10):
        quota.take(NOISY, 100)
    assert (refused(quota).status, refused(quota).code) == (429, "quota")
    clock.now += 1.0
    quota.take(NOISY, 100)
    refused(quota)
    clock.now += 1_000.0  # never more than the burst
    for _ in range(10):
        quota.take(NOISY, 100)
    refused(quota)


def test_a_batch_larger_than_the_burst_is_let_in_once_and_paid_for() -> None:
    clock = Clock()
    quota = Quota(100, clock)
    quota.take(NOISY, 5_000)
    error = refused(quota)
    assert error.retry_after_s == 40  # 4,000 of debt
    for _ in range(20):
        assert 40 <= int(error_response(error).headers["Retry-After"]) <= 45
    clock.now += 39.9
    refused(quota)
    clock.now += 0.2
    quota.take(NOISY, 1)


def test_one_project_does_not_pay_for_another() -> None:
    quota = Quota(10, Clock())
    quota.take(NOISY, 1_000_000)
    refused(quota)
    quota.take(QUIET, 10)


def test_what_was_not_queued_is_given_back() -> None:
    quota = Quota(10, Clock())
    for _ in range(50):
        quota.take(NOISY, 100)
        quota.give_back(NOISY, 100)
    quota.take(NOISY, 100)
    refused(quota)


def test_ever_new_projects_do_not_grow_memory_and_debts_are_kept() -> None:
    clock = Clock()
    quota = Quota(10, clock)
    quota.take(NOISY, 10_000_000)
    for number in range(30_000):
        clock.now += 0.001
        quota.take(("team", str(number)), 1)
    assert len(quota._buckets) <= 10_000
    refused(quota)


def test_a_debt_is_known_before_a_batch_is_decoded() -> None:
    clock = Clock()
    quota = Quota(10, clock)
    quota.check(NOISY)
    before = quota.has_debtors
    quota.take(NOISY, 200)
    assert (before, quota.has_debtors) == (False, True)
    with pytest.raises(OverQuota) as caught:
        quota.check(NOISY)
    assert (caught.value.project, caught.value.retry_after_s) == (NOISY, 10)
    quota.check(QUIET)
    clock.now += 10.1
    assert not quota.has_debtors
    quota.check(NOISY)


async def test_held_answers_leave_at_shutdown_and_ask_for_less() -> None:
    clock, stop = Clock(), asyncio.Event()
    quota = Quota(10, clock, stop)
    quota.take(NOISY, 10_000)
    errors = [refused(quota) for _ in range(120)]
    assert all(isinstance(error, OverQuota) for error in errors)
    holds = [asyncio.create_task(quota.hold(error)) for error in errors]  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sum(hold.done() for hold in holds) >= 19
    assert not holds[-1].done()  # it would take 5 s
    stop.set()
    await asyncio.wait_for(asyncio.gather(*holds), 4)
    waits = [error.retry_after_s or 0 for error in errors]
    assert waits[0] == 990
    assert waits[-1] < 990 - 4
