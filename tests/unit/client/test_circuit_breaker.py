"""The circuit breaker on a clock of its own: days with a server that fails, in no time."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import sized

from penstock.errors import Rejected, Transient
from penstock.shipper.circuit_breaker import CircuitBreaker, Held

DAYS_S = 2 * 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def failing(code: str = "unavailable", retry_after_s: float | None = None) -> Transient:
    return Transient("no", code=code, retry_after_s=retry_after_s)


def fail_once(breaker: CircuitBreaker, error: Exception, group: object = "g") -> None:
    def request() -> None:
        raise error

    with pytest.raises(type(error)):
        breaker.call(group, request)


def latest(low: float, high: float) -> float:
    return high


def test_after_a_failure_everybody_waits_longer_each_time() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock, latest)
    waits = []
    for _ in range(9):
        fail_once(breaker, failing())
        waits.append(breaker.wait_s)
        with pytest.raises(Held) as held:
            breaker.call("another", lambda: None)
        assert held.value.wait_s == breaker.wait_s
        clock.now += breaker.wait_s
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_one_probes_while_the_others_wait_and_its_success_lets_all_in() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock, latest)
    fail_once(breaker, failing())
    clock.now += 0.5

    def probe() -> str:
        with pytest.raises(Held):
            breaker.call("other", lambda: pytest.fail("asked beside the probe"))
        return "well"

    assert breaker.call("g", probe) == "well"
    assert breaker.failures == 0
    # Closed: a request inside another's is let through.
    assert breaker.call("g", lambda: breaker.call("other", lambda: 1)) == 1


def test_a_probe_that_fails_for_another_reason_is_given_back() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock, latest)
    fail_once(breaker, failing())
    clock.now += 0.5
    fail_once(breaker, RuntimeError("a bug"))
    assert breaker.call("g", lambda: 1) == 1


def test_a_refusal_shows_that_the_server_is_well() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock, latest)
    fail_once(breaker, failing())
    clock.now += 0.5
    fail_once(breaker, Rejected("no", code="bad"))
    assert breaker.failures == 0


def test_retry_after_is_kept_also_by_requests_that_were_under_way() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock, latest)

    def slow() -> None:
        fail_once(breaker, failing())
        raise failing(retry_after_s=40)

    with pytest.raises(Transient):
        breaker.call("g", slow)
    assert breaker.failures == 1
    assert breaker.wait_s == 40


def test_an_answer_to_an_older_question_lets_nobody_in() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock, latest)
    breaker.call("g", lambda: fail_once(breaker, failing(retry_after_s=40)))
    assert breaker.failures == 1
    assert breaker.wait_s == 40.5


def test_a_quota_pauses_its_project_only() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock, latest)
    fail_once(breaker, failing("quota", 10), "greedy")
    assert breaker.failures == 0
    assert breaker.call("modest", lambda: 1) == 1
    with pytest.raises(Held) as held:
        breaker.call("greedy", lambda: 1)
    assert 10 <= held.value.wait_s <= 15
    clock.now += held.value.wait_s
    assert breaker.call("greedy", lambda: 1) == 1


@dataclass
class Server:
    """Down during `outages`; has asked not to be asked before a time."""

    outages: list[tuple[float, float]]
    not_before: float = 0.0

    def is_down(self, at: float) -> bool:
        return any(start <= at < end for start, end in self.outages)


outages = st.lists(
    st.tuples(st.floats(0, DAYS_S * 0.9), st.floats(1, 12 * 3_600)), min_size=1, max_size=6
)


@pytest.mark.heavy
@pytest.mark.smoke
@sized(500)
@given(outages=outages, spools=st.integers(1, 6), seed=st.integers(0, 2**32))
def test_days_of_outages(outages: list[tuple[float, float]], spools: int, seed: int) -> None:
    """Spools that always have something to send, each request taking a while on a virtual clock:
    the threads of the shipper are played by an agenda of events."""
    luck, clock = random.Random(seed), Clock()
    breaker = CircuitBreaker(clock, luck.uniform)
    server = Server([(start, start + size) for start, size in outages])
    numbers = itertools.count()
    agenda: list[tuple[float, int, int, tuple[int, bool, bool, float] | None]] = [
        (luck.random(), next(numbers), spool, None) for spool in range(spools)
    ]
    probes, succeeded_at = 0, 0.0
    sent: list[float] = []
    while agenda:
        clock.now, _, spool, answer = heapq.heappop(agenda)
        if clock.now > DAYS_S:
            break
        if answer is None:
            try:
                era = breaker.enter("g")
            except Held as held:
                again = clock.now + max(held.wait_s, 0.05)
                heapq.heappush(agenda, (again, next(numbers), spool, None))
                continue
            assert clock.now >= server.not_before, "asked before Retry-After"
            is_probe = breaker.failures > 0
            probes += is_probe
            assert probes <= 1, "two requests while half open"
            sent.append(clock.now)
            down = server.is_down(clock.now)
            retry_after_s = luck.choice([0.0, 0.0, 5.0, 300.0]) if down else 0.0
            end = clock.now + luck.uniform(0.01, 30.0 if down else 1.0)
            heapq.heappush(
                agenda, (end, next(numbers), spool, (era, is_probe, down, retry_after_s))
            )
            continue
        era, was_probe, down, retry_after_s = answer
        probes -= was_probe
        if down:
            breaker.failed(era, retry_after_s)
            server.not_before = max(server.not_before, clock.now + retry_after_s)
            again = clock.now
        else:
            breaker.answered(era)
            succeeded_at = clock.now
            again = clock.now + luck.uniform(120, 1_200)
        heapq.heappush(agenda, (again, next(numbers), spool, None))
    # It always comes back: at the end of the days the server is up and is used.
    last_outage = max(min(end, DAYS_S) for _, end in server.outages)
    if last_outage < DAYS_S - 3_600:
        assert succeeded_at > DAYS_S - 1_800
        assert breaker.failures == 0
    # While the server is down for long, it is asked twice a minute at most, on average.
    for start, end in server.outages:
        if end - start > 3_600 and end < DAYS_S:
            asked = sum(start + 600 < at < end for at in sent)
            assert asked <= 10 + (end - start - 600) / 20
