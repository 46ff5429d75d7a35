"""The users, for locust: `locust -f loadtests/locustfile.py --host URL`, or `make load`.

`LOAD_SHAPE` chooses the shape, `LOAD_SECONDS` its length, `LOAD_API_KEY` the key; `LOAD_LEDGER` is a
folder for what was acknowledged, `LOAD_SUFFIX` ends the names of projects. Batches are generated before the first is sent, so that generating
them does not limit the load.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import gevent
from benchmarks.generate import WriterPlan, batch_bytes
from locust import (
    FastHttpUser,
    LoadTestShape,
    User,
    constant_pacing,
    constant_throughput,
    events,
    task,
)
from locust.runners import MasterRunner, WorkerRunner

from loadtests.shapes import Kind, load_shape
from penstock.wire import CONTENT_TYPE, join_batches

_NAME = os.environ.get("LOAD_SHAPE", "steady")
_SHAPE = load_shape(_NAME, os.environ.get("LOAD_SUFFIX", f"-{secrets.token_hex(3)}"))
_SECONDS = float(os.environ.get("LOAD_SECONDS", "60"))
_KEY = os.environ.get("LOAD_API_KEY", os.environ.get("PENSTOCK_API_KEY", ""))
_LEDGER = os.environ.get("LOAD_LEDGER", "")
_PREPARED = 40
_BUSY = (429, 503)
_STEP = "load_step"


class Writer(FastHttpUser):
    """One run's only writer: sends batch after batch and remembers what was acknowledged."""

    abstract = True
    kind: Kind
    numbers: Iterator[int]
    everyone: list[Writer]

    def on_start(self) -> None:
        worker = getattr(self.environment.runner, "worker_index", 0)
        number = next(type(self).numbers) + 5_000 * max(0, worker)
        self.plan = WriterPlan(self.kind.first_run + number, 0)
        self.acknowledged = 0
        self.attempted = 0
        self.refused = 0
        self._headers = {"Authorization": f"Bearer {_KEY}", "Content-Type": CONTENT_TYPE}
        count = min(_PREPARED, int(_SECONDS / self.kind.period_s) + 2) if self.kind.period_s else 4
        self._bodies = {seq: self._body(seq) for seq in range(1, count + 1)}
        self.everyone.append(self)
        if self.kind.creates:
            self._create()

    @task
    def send(self) -> None:
        seq = self.acknowledged + 1
        self.attempted = seq
        body = self._bodies.pop(seq, None) or self._body(seq)
        with self.client.post(
            "/v1/batches", data=cast(str, body), headers=self._headers, name=self._label(),
            catch_response=True,
        ) as reply:  # fmt: skip
            if reply.status_code == 202:
                self.acknowledged = seq
                return
            self._bodies[seq] = body
            if reply.status_code in _BUSY:
                # Back-pressure is no error: the same batch comes again later.
                self.refused += 1
                reply.success()
        if reply.status_code in _BUSY:
            gevent.sleep(float(reply.headers.get("Retry-After", "1")))

    def _create(self) -> None:
        run = {
            "project": self.kind.project,
            "run": self.plan.run_name,
            "config": {"lr": 10.0 ** -(self.plan.run % 6), "seed": self.plan.run},
        }
        headers = {"Authorization": f"Bearer {_KEY}"}
        self.client.post("/v1/runs", json=run, headers=headers, name="create run")

    def _body(self, seq: int) -> bytes:
        raw = batch_bytes(self.kind.batch, self.plan, seq, project=self.kind.project)
        return join_batches([raw])

    def _label(self) -> str:
        """The kind; of a quiet neighbour also whether it is alone."""
        if len(_SHAPE.kinds) == 1 or self.kind is not _SHAPE.kinds[0]:
            return self.kind.name
        return f"{self.kind.name}, {'beside the flood' if Load.step else 'alone'}"


def _user(kind: Kind) -> type[Writer]:
    wait = constant_pacing(kind.period_s) if kind.period_s else constant_throughput(10_000)
    members: dict[str, Any] = {
        "kind": kind,
        "numbers": itertools.count(),
        "everyone": [],
        "weight": int(kind.share),
        "wait_time": wait,
        "abstract": False,
        "concurrency": 1,
        "network_timeout": 30.0,
        "connection_timeout": 10.0,
        "insecure": False,
    }
    return type(kind.name.capitalize(), (Writer,), members)


_USERS = [_user(kind) for kind in _SHAPE.kinds]
# locust finds users by the names of this module.
globals().update({user.__name__: user for user in _USERS})


class Load(LoadTestShape):
    """The number of users over time."""

    step = 0

    def tick(self) -> tuple[int, float, list[type[User]] | None] | None:
        step = _SHAPE.at(self.get_run_time() / _SECONDS)  # type: ignore[no-untyped-call]
        if step is None:
            return None
        if Load.step != step and isinstance(self.runner, MasterRunner):
            self.runner.send_message(_STEP, {"step": step})
        Load.step = step
        _, users, rate = _SHAPE.steps[step]
        there: list[type[User]] = [
            user for user, first in zip(_USERS, _SHAPE.kinds_from, strict=True) if first <= step
        ]
        return users, rate, there


_took_ms: defaultdict[str, list[float]] = defaultdict(list)
_failures: Counter[str] = Counter()


@events.request.add_listener  # type: ignore[untyped-decorator]
def _note(name: str, response_time: float, exception: object, **_: object) -> None:
    """Here, because several processes send locust's master their figures now and then, and not their last."""
    _took_ms[name].append(response_time)
    _failures[name] += exception is not None


@events.init.add_listener  # type: ignore[untyped-decorator]
def _follow_steps(environment: Any, **_: object) -> None:
    """Only the master of several processes knows the time."""

    def follow(msg: Any, **_: object) -> None:
        Load.step = int(msg.data["step"])

    if isinstance(environment.runner, WorkerRunner):
        environment.runner.register_message(_STEP, follow)


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def _write_ledger(environment: Any, **_: object) -> None:
    if not _LEDGER:
        return
    writers = [
        {
            "kind": user.kind.name,
            "run": writer.plan.run,
            "attempted": writer.attempted,
            "acknowledged": writer.acknowledged,
            "refused": writer.refused,
        }
        for user in _USERS
        for writer in user.everyone
    ]
    requests = [
        {"name": name, "took_ms": took_ms, "failures": _failures[name]}
        for name, took_ms in _took_ms.items()
    ]
    errors = [str(error.to_dict()) for error in environment.stats.errors.values()]
    content = {"writers": writers, "requests": requests, "errors": errors}
    if isinstance(environment.runner, WorkerRunner) and writers:
        content["processes"] = [os.getpid()]
    Path(_LEDGER, f"{os.getpid()}.json").write_text(json.dumps(content))
