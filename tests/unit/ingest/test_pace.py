"""How long clients are asked to collect: longer the more comes, and the fuller the queue is."""

from __future__ import annotations

import pytest

from penstock_ingest.pace import Pace


class Scene:
    def __init__(self) -> None:
        self.now = 0.0
        self.fill = 0.0
        self.is_watched = True
        self.pace = Pace(lambda: self.fill, lambda: self.is_watched, lambda: self.now)

    def after(self, seconds: float, batches: int = 0) -> float:
        self.pace.count(batches)
        self.now += seconds
        return self.pace.interval_s


def test_the_rate_of_batches_lengthens_it_and_silence_shortens_it_again() -> None:
    scene = Scene()
    assert scene.after(1.0) == 0.3
    assert scene.after(1.0, 2_000) == 2.0
    assert scene.after(0.5, 9_000) == 2.0  # computed once a second
    assert scene.after(0.5, 9_000) == 10.0
    assert scene.after(60.0) == 0.3


@pytest.mark.parametrize(
    ("fill", "interval_s"),
    [(0.0, 0.3), (0.1, 0.3), (0.55, 5.15), (0.99, 9.89), (1.0, 10.0), (3.0, 10.0)],
)
def test_the_queue_s_fill_lengthens_it_from_a_tenth_on(fill: float, interval_s: float) -> None:
    scene = Scene()
    scene.fill = fill
    assert scene.after(1.0) == interval_s


def test_it_is_longer_while_nobody_reads() -> None:
    scene = Scene()
    scene.is_watched = False
    assert scene.after(1.0) == 1.0
    assert scene.after(1.0, 2_000) == 2.0
    scene.is_watched = True
    assert scene.after(0.0) == 2.0  # what comes in needs that much anyway
    assert scene.after(1.0) == 0.3
    scene.is_watched = False
    assert scene.after(0.0) == 1.0
    scene.is_watched = True
    assert scene.after(0.0) == 0.3


def test_the_longer_of_both_counts() -> None:
    scene = Scene()
    scene.fill = 0.55
    assert scene.after(1.0, 8_000) == 8.0
    assert scene.after(1.0, 1_000) == 5.15
