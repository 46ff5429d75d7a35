"""Failed logins: whom they keep out, for how long, and whom not."""

from __future__ import annotations

import pytest

from penstock.errors import PenstockError, Rejected, Transient
from penstock_web import throttle
from penstock_web.throttle import LoginThrottle

WRONG = Rejected("wrong", code="unknown_key", status=401)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def fail(door: LoginThrottle, account: str, address: str, times: int = 1) -> list[int]:
    """The statuses of so many wrong logins."""
    statuses = []
    for _ in range(times):
        try:
            door.check(account, address)
            raise door.failed(account, address, WRONG)
        except (Rejected, Transient) as error:
            statuses.append(error.status)
    return statuses


def test_one_address_may_try_one_account_ten_times_a_minute() -> None:
    clock = Clock()
    door = LoginThrottle(clock)
    assert fail(door, "ana", "1.1.1.1", 12) == [401] * 10 + [429] * 2
    with pytest.raises(Transient) as refused:
        door.check("ana", "1.1.1.1")
    assert refused.value.retry_after_s == 60.0
    clock.now += 59
    with pytest.raises(Transient):
        door.check("ana", "1.1.1.1")
    clock.now += 2
    door.check("ana", "1.1.1.1")


def test_nobody_else_is_kept_out() -> None:
    door = LoginThrottle(Clock())
    fail(door, "ana", "1.1.1.1", 50)
    door.check("ben", "1.1.1.1")  # behind the same proxy
    door.check("ana", "2.2.2.2")  # the right person, from home


def test_many_wrong_logins_of_one_address_or_account_close_no_door() -> None:
    door = LoginThrottle(Clock())
    statuses = [fail(door, f"account {n}", "1.1.1.1")[0] for n in range(110)]
    assert statuses == [401] * 100 + [429] * 10
    door.check("ana", "1.1.1.1")
    statuses = [fail(door, "ben", f"1.1.2.{n}")[0] for n in range(110)]
    assert statuses == [401] * 100 + [429] * 10
    door.check("ben", "9.9.9.9")


def test_memory_is_bounded_and_the_latest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "_MAX_ENTRIES", 100)
    door = LoginThrottle(Clock())
    fail(door, "ana", "1.1.1.1", 10)
    for number in range(90):
        fail(door, f"account {number}", f"2.2.2.{number}")
    with pytest.raises(PenstockError):
        door.check("ana", "1.1.1.1")
    for number in range(1_000):
        fail(door, f"account {number}", f"3.3.3.{number}")
    assert len(door._pairs._windows) == 100
    assert len(door._ones._windows) == 100
