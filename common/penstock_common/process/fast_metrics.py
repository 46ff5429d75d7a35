"""Fast Prometheus counters and histograms for one event loop: counting is a plain addition.

prometheus_client takes a lock for every count, which costs several times a request's other
bookkeeping. Here only the scrape pays, when it collects the families. Count from the event loop only,
never from two threads.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

__all__ = ["CallbackCounter", "CounterFamily", "FastCounter", "FastHistogram", "HistogramFamily"]


class FastCounter:
    """A counter: a number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        self.value += amount


class FastHistogram:
    """A histogram: observations up to each of `bounds`, and above all of them."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, observations up to it), cumulative as in Prometheus."""
        total, pairs = 0, []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            total += count
            pairs.append(("+Inf" if bound == float("inf") else repr(float(bound)), float(total)))
        return pairs


class _Child(Protocol): ...


ChildT = TypeVar("ChildT", bound=_Child)


class _Family(Generic[ChildT]):
    """One metric: a child for each label set in use."""

    def __init__(
        self, name: str, text: str, labels: Iterable[str], new: Callable[[], ChildT]
    ) -> None:
        self.name = name
        self.text = text
        self.label_names = tuple(labels)
        self.children: dict[tuple[str, ...], ChildT] = {}
        self._new = new

    def labels(self, *values: str) -> ChildT:
        """The child with these label values, in the order of the names. Look it up once where it is used
        often."""
        child = self.children.get(values)
        if child is None:
            if len(values) != len(self.label_names):
                raise ValueError(f"{self.name} has the labels {self.label_names}, not {values}")
            child = self.children[values] = self._new()
        return child


class CounterFamily(_Family[FastCounter]):
    """A counter with labels."""

    def __init__(self, name: str, text: str, labels: Iterable[str] = ()) -> None:
        super().__init__(name, text, labels, FastCounter)

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(self.name, self.text, labels=self.label_names)
        for values, counter in self.children.items():
            family.add_metric(values, counter.value)
        yield family


class HistogramFamily(_Family[FastHistogram]):
    """A histogram with labels."""

    def __init__(
        self, name: str, text: str, labels: Iterable[str], bounds: Sequence[float]
    ) -> None:
        super().__init__(name, text, labels, lambda: FastHistogram(bounds))

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(self.name, self.text, labels=self.label_names)
        for values, histogram in self.children.items():
            family.add_metric(values, histogram.buckets(), histogram.sum)
        yield family


class CallbackCounter:
    """A counter whose value is read from elsewhere at each scrape."""

    def __init__(self, name: str, text: str, value: Callable[[], float]) -> None:
        self.name = name
        self._text = text
        self._value = value

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily(self.name, self._text, value=self._value())
