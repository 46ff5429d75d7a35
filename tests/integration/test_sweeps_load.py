"""A large sweep against the real server: ten thousand trials, two hundred agents, some of which die with
a trial in their hands. No trial is had twice, none is lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.up import Up, running_up

AGENTS = 200
DEATHS = 100
LEASE_S = 30.0
"""Longer than an agent on a busy machine is silent: who is, loses its trial, and rightly so."""


class Load:
    """All agents together, and what they saw."""

    def __init__(self, up: Up, session: aiohttp.ClientSession, path: str) -> None:
        self._up = up
        self._session = session
        self._path = path
        self.had: dict[str, list[str]] = defaultdict(list)
        self.held_by_dead: dict[str, list[str]] = defaultdict(list)
        self.done: Counter[str] = Counter()
        self.parameters: dict[str, Any] = {}
        self.deaths_left = DEATHS

    async def post(self, path: str, payload: object) -> Any:
        url = f"{self._up.url}{path}"
        headers = {"Authorization": f"Bearer {self._up.api_key}"}
        while True:
            async with self._session.post(url, json=payload, headers=headers) as reply:
                if reply.status == 503:
                    await asyncio.sleep(float(reply.headers["Retry-After"]))
                    continue
                assert reply.status in (200, 201), await reply.text()
                return await reply.json()

    async def work(self, number: int) -> None:
        """One place among the agents: when its agent dies, another one takes it."""
        chance = random.Random(number)
        while await self._agent(chance):
            pass

    async def _agent(self, chance: random.Random) -> bool:
        """One agent's life; whether it died."""
        agent = (await self.post(f"{self._path}/agents", {"host": "h"}))["agent"]
        ended: list[str] = []
        while True:
            beat = f"{self._path}/agents/{agent}/heartbeat"
            answer = await self.post(beat, {"alive": [], "ended": ended})
            self.done.update(ended)
            ended = []
            if answer["exit"]:
                return False
            trial = answer["trial"]
            if trial is None:
                await asyncio.sleep(0.5)
                continue
            run = trial["run"]
            self.had[run].append(agent)
            self.parameters[run] = trial["parameters"]
            if self.deaths_left and chance.random() < 0.02:
                self.deaths_left -= 1
                self.held_by_dead[run].append(agent)
                return True
            ended = [run]


async def all_trials(load: Load, up: Up, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while page := up.get(f"{path}/trials?limit=5000&after={len(found) - 1}")["trials"]:
        found += page
    return found


async def run_load(up: Up, side: int) -> None:
    config = {
        "method": "grid",
        "parameters": {name: {"min": 1, "max": side} for name in ("a", "b")},
    }
    made = up.post("/v1/sweeps", {"config": config, "project": "load"})
    path = f"/v1/sweeps/local/load/{made['sweep']}"
    connector = aiohttp.TCPConnector(limit=AGENTS)
    async with aiohttp.ClientSession(connector=connector) as session:
        load = Load(up, session, path)
        await asyncio.gather(*map(load.work, range(AGENTS)))
    trials = await all_trials(load, up, path)
    # None lost: the whole grid, in order, each combination once, each done by somebody.
    runs = [f"{made['sweep']}-{index}" for index in range(side * side)]
    assert [trial["run"] for trial in trials] == runs
    combinations = Counter((each["parameters"]["a"], each["parameters"]["b"]) for each in trials)
    assert len(combinations) == side * side
    assert load.done == Counter(runs)
    assert all(load.parameters[trial["run"]] == trial["parameters"] for trial in trials)
    # None twice: a second agent had a trial only where the first one died with it.
    assert load.held_by_dead
    again = {run: agents for run, agents in load.had.items() if len(agents) > 1}
    assert again.keys() == load.held_by_dead.keys()
    assert all(agents[:-1] == load.held_by_dead[run] for run, agents in again.items())
    assert up.get(path)["state"] == "FINISHED"


@pytest.mark.heavy
@pytest.mark.timeout(900)
async def test_ten_thousand_trials(tmp_path: Path) -> None:
    settings = {"PENSTOCK_SWEEP_LEASE_S": str(LEASE_S)}
    with running_up(tmp_path, "--gateways", "2", settings=settings) as up:
        await run_load(up, 100)
