"""The engine of the native and the wandb API: creates, changes and reads sweeps and assigns trials.

All its state is in the catalog, so any gateway process can answer any agent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from penstock.error_codes import ErrorCode
from penstock.errors import PenstockError, Rejected
from penstock.ids import new_agent_id, new_sweep_id
from penstock_storage.contracts.sweep_rows import (
    AgentHeartbeat,
    AgentRow,
    Draw,
    Drawn,
    NewSweep,
    PriorRun,
    SweepCatalog,
    SweepCount,
    SweepRow,
    TrialAssignment,
    TrialRow,
)
from penstock_sweeps.configuration import SweepConfiguration, prepare, read_configuration
from penstock_sweeps.metrics import TrialMetrics
from penstock_sweeps.trial_broker import TrialBroker
from penstock_sweeps.watch import Watch

__all__ = ["STATES", "SweepEngine", "not_found"]

_LOG = logging.getLogger(__name__)

STATES = ("PENDING", "RUNNING", "PAUSED", "FINISHED", "CANCELED")
_LOOK_EVERY_S = 2.0
_LOOK_FOR_CALLERS_S = 0.25
"""Callers that wait for new results need fresh ones."""
_PATIENCE_S = 3.0
_MAX_SWEEPS = 1_000
_MAX_CACHED = 10_000
_MAX_PRIOR_RUNS = 200
"""How many of a sweep's prior runs, the last ones added, the Bayesian search uses."""
_ROW_S = 1.0
KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


def not_found(what: str = "sweep") -> Rejected:
    """The answer for what does not exist and for what the caller may not read."""
    return Rejected(f"this {what} was not found", code=ErrorCode.NOT_FOUND)


class SweepEngine:
    """All sweeps of a catalog, in one gateway process."""

    def __init__(
        self, catalog: SweepCatalog, metrics: TrialMetrics, *, lease_s: float = 60.0
    ) -> None:
        self._catalog = catalog
        self._metrics = metrics
        self._watch = Watch(catalog, metrics)
        self._broker = TrialBroker(catalog)
        self._agents: OrderedDict[str, AgentRow] = OrderedDict()
        self._rows: OrderedDict[int, tuple[float, SweepRow]] = OrderedDict()
        self._lease_us = int(lease_s * 1e6)
        self._looked: OrderedDict[int, float] = OrderedDict()
        self._looking: dict[int, asyncio.Task[None]] = {}
        self._asking: dict[int, asyncio.Lock] = {}
        # One thread: sequential proposals leave the interpreter to requests.
        self._thinker = ThreadPoolExecutor(1, "bayes")

    async def create(
        self, entity: str, project: str, source: str, name: str = ""
    ) -> tuple[SweepRow, SweepConfiguration]:
        """Create a sweep from a YAML configuration. Raises `Rejected` if it is invalid."""
        await prepare([source])
        configuration = read_configuration(source)
        new = NewSweep(
            entity,
            project,
            new_sweep_id(),
            _plain(name or configuration.name),
            source,
            configuration.goal,
        )
        return await self._catalog.create(new, _now()), configuration

    async def find(self, entity: str, project: str, sweep: str) -> SweepRow:
        """Raises `Rejected` (404)."""
        names = (entity, project, sweep)
        found = await self._catalog.find(*names) if all(map(_is_plain, names)) else None
        if found is None:
            raise not_found()
        await prepare([found.source])
        return found

    async def by_number(self, sweep: int) -> SweepRow:
        """Raises `Rejected` (404)."""
        found = await self._catalog.by_number(sweep)
        if found is None:
            raise not_found()
        await prepare([found.source])
        return found

    async def of_project(self, entity: str, project: str) -> list[SweepRow]:
        """The newest first."""
        if not (_is_plain(entity) and _is_plain(project)):
            return []
        found = await self._catalog.of_project(entity, project)
        await prepare(each.source for each in found)
        return found

    async def counts(self, sweeps: Collection[SweepRow]) -> dict[int, SweepCount]:
        """The counts by sweep number, after checking for news: agents may be gone."""
        for sweep in list(sweeps)[:20]:
            await self._look(sweep, _PATIENCE_S)
        found = await self._catalog.count([sweep.number for sweep in sweeps])
        return {sweep.number: found.get(sweep.number, SweepCount()) for sweep in sweeps}

    async def change(
        self,
        sweep: SweepRow,
        *,
        state: str | None = None,
        source: str | None = None,
        name: str | None = None,
    ) -> SweepRow:
        """Pause, resume, stop, cancel or reconfigure a sweep. Raises `Rejected`."""
        if state is not None and state not in STATES:
            raise Rejected(
                f"a sweep's state is one of {', '.join(STATES)}, not {state!r}",
                code=ErrorCode.BAD_FIELD,
                hint="",
            )
        if source is not None:
            await prepare([source])
        goal = None if source is None else read_configuration(source).goal
        self._rows.pop(sweep.number, None)
        return await self._catalog.change(
            sweep.number,
            _now(),
            state=state,
            source=source,
            name=None if name is None else _plain(name),
            goal=goal,
        )

    async def add_prior_runs(self, sweep: SweepRow, numbers: Sequence[int]) -> None:
        """Add prior runs by number: a Bayesian search learns from those whose config is in its
        space."""
        await self._catalog.add_prior_runs(sweep.number, numbers)

    async def prior_runs(self, sweep: SweepRow) -> list[PriorRun]:
        """The sweep's prior runs in the order in which they were added."""
        return await self._catalog.prior_runs(sweep.number)

    async def add_agent(self, sweep: SweepRow, host: str) -> AgentRow:
        """Register an agent."""
        return await self._catalog.add_agent(sweep.number, new_agent_id(), _plain(host), _now())

    async def agent(self, agent: str) -> tuple[AgentRow, SweepRow]:
        """An agent and its sweep, at most a second old. Raises `Rejected` (404)."""
        found = self._agents.get(agent)
        if found is None and _is_plain(agent):
            found = await self._catalog.agent(agent)
        if found is None:
            raise not_found("agent")
        _remember(self._agents, agent, found)
        known = self._rows.get(found.sweep)
        if known is not None and known[0] > time.monotonic():
            return found, known[1]
        sweep = await self.by_number(found.sweep)
        _remember(self._rows, sweep.number, (time.monotonic() + _ROW_S, sweep))
        return found, sweep

    async def agents(self, sweep: SweepRow) -> list[AgentRow]:
        """All registered agents, in order."""
        return await self._catalog.agents(sweep.number)

    async def trials_of(self, agent: AgentRow) -> list[TrialRow]:
        """An agent's trials, in order."""
        return await self._catalog.trials_of(agent.number, agent.sweep)

    async def trials(self, sweep: SweepRow, after: int = -1, limit: int = 1_000) -> list[TrialRow]:
        """Trials with an index above `after`, in order."""
        return await self._catalog.trials(sweep.number, after, limit)

    async def heartbeat(
        self,
        agent: AgentRow,
        sweep: SweepRow,
        *,
        alive: Collection[str] = (),
        ended: Collection[str] = (),
        wants: bool = True,
    ) -> TrialAssignment:
        """Process an agent's heartbeat; returns its assignment. Raises `Rejected` for an unknown agent,
        and `Transient`, with nothing changed, while the catalog cannot be reached."""
        configuration = read_configuration(sweep.source)
        # Trials' runs have plain names; not every database accepts others in a query.
        runs = (frozenset(filter(_is_plain, alive)), frozenset(filter(_is_plain, ended)))
        heartbeat = AgentHeartbeat(agent.agent, *runs, wants, self._lease_us, configuration.cap)
        asks = configuration.method == "bayes" and wants and not alive
        await self._look(sweep, _PATIENCE_S if asks else 0)
        if asks and sweep.state in ("PENDING", "RUNNING"):
            # One at a time, so that the next proposal includes this one.
            async with self._asking.setdefault(sweep.number, asyncio.Lock()):
                draw = await self._proposal(sweep, configuration, agent)
                return await self._broker.ask(heartbeat, draw)
        return await self._broker.ask(heartbeat, _drawing(sweep, configuration))

    async def close(self) -> None:
        """End the background tasks."""
        tasks = list(self._looking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._thinker.shutdown(wait=False, cancel_futures=True)

    async def _proposal(
        self, sweep: SweepRow, configuration: SweepConfiguration, agent: AgentRow
    ) -> Draw:
        # Optuna is slow to import, and most servers never need it.
        from penstock_sweeps.bayes import BEST, LATEST, Known, propose  # noqa: PLC0415

        known = await self._catalog.known(sweep.number, BEST, LATEST)
        index = known[-1].index + 1 if known else 0
        prior, values = await self._prior(sweep, configuration)
        salt = f"{agent.agent}/{index}"
        space, goal = configuration.space, configuration.goal

        def think() -> dict[str, float]:
            points = ((space.point_of(run.config), values[run.number]) for run in prior)
            learned = [Known(point, value) for point, value in points if point is not None]
            return propose(space, goal, [*learned, *known], sweep.sweep, salt)

        point = await asyncio.get_running_loop().run_in_executor(self._thinker, think)
        return lambda _: Drawn(space.values(point), point)

    async def _prior(
        self, sweep: SweepRow, configuration: SweepConfiguration
    ) -> tuple[list[PriorRun], dict[int, float]]:
        """Prior runs with a value of the sweep's metric, and these values by run number. Empty while the
        stores do not respond, so that agents still get their next trial."""
        try:
            runs = (await self._catalog.prior_runs(sweep.number))[-_MAX_PRIOR_RUNS:]
            if not runs:
                return [], {}
            values = await self._metrics.values(
                sweep.project_number,
                [run.number for run in runs],
                configuration.metric,
                configuration.goal,
            )
        except PenstockError as error:
            _LOG.warning("prior_runs_not_read sweep=%s reason=%s", sweep.sweep, error)
            return [], {}
        return [run for run in runs if run.number in values], values

    async def _look(self, sweep: SweepRow, wait_s: float) -> None:
        """Learn from the sweep's runs, unless this process just did; wait at most this long. A slow or
        unavailable store does not delay an agent's next trial."""
        number, now = sweep.number, time.monotonic()
        every_s = _LOOK_FOR_CALLERS_S if wait_s else _LOOK_EVERY_S
        task = self._looking.get(number)
        if task is None:
            if now - self._looked.get(number, -every_s) < every_s:
                return
            task = asyncio.create_task(self._watch.look(sweep, read_configuration(sweep.source)))
            self._looking[number] = task
            self._looked[number] = now
            self._looked.move_to_end(number)
            while len(self._looked) > _MAX_SWEEPS:
                self._asking.pop(self._looked.popitem(last=False)[0], None)
            task.add_done_callback(lambda _: self._looking.pop(number, None))
        if wait_s:
            await asyncio.wait({task}, timeout=wait_s)


def _drawing(sweep: SweepRow, configuration: SweepConfiguration) -> Draw:
    """Draws the next trial of a grid or random search from its index alone."""
    space = configuration.space

    def combination(index: int) -> Drawn | None:
        return Drawn(space.grid_values(index)) if index < space.grid_size else None

    def anywhere(index: int) -> Drawn:
        point = space.random_point(sweep.sweep, index)
        return Drawn(space.values(point), point)

    return combination if configuration.method == "grid" else anywhere


def _remember(kept: OrderedDict[KeyT, ValueT], key: KeyT, value: ValueT) -> None:
    """Add an entry to this bounded cache."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > _MAX_CACHED:
        kept.popitem(last=False)


def _plain(text: str) -> str:
    """Text that every database can store."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _is_plain(text: str) -> bool:
    return _plain(text) == text


def _now() -> int:
    return time.time_ns() // 1000
