"""What counts as growth of an installation that is left alone."""

from __future__ import annotations

from benchmarks.steady import Sample, growing


def sample(**changed: float) -> Sample:
    figures = {
        "cores": 0.05,
        "server MiB": 400.0,
        "client MiB": 60.0,
        "files": 900.0,
        "parts": 60.0,
    }
    return Sample({**figures, **changed}, {}, 1.0)


def test_what_stays_or_filled_up_at_first_does_not_grow() -> None:
    assert growing([sample(files=100.0 * min(9, n)) for n in range(30)]) == []


def test_what_goes_on_growing_is_named() -> None:
    leak = [sample(**{"server MiB": 400.0 + 2 * n}) for n in range(30)]
    assert [text.partition(":")[0] for text in growing(leak)] == ["server MiB"]
