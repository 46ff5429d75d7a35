"""Row M1: random faults, two at a time, on a real `penstock up` under load, for as long as one likes.

    PYTHONPATH=tests python -m faults.soak --minutes 30 [--seed N] [--report FILE]

Each round has a load of its own, of trainings and of generated batches, both through a proxy, and ends
with its ledger. All the while there are runs of 20,000 metrics, data that compresses 300:1, and another
entity's batches that fail, end or hang the worker; nothing is restarted by hand, `/readyz` is watched,
and at the end one command brings back what was set aside. The seed is printed: the same one draws the
same faults. Leaves nothing running.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from benchmarks.ledger import Ledger
from loadtests.native import shipper_of
from support.api_keys import new_key
from support.faultload import FaultLoad, fault_load
from support.proxy import Proxy, running_proxy
from support.readiness import Readiness
from support.trouble import Beside, Poison, beside
from support.up import Up, start_up

__all__ = ["Soak", "main"]

_ROUND_S = 90.0
_RECOVERY_S = 120.0
_SAMPLE_S = 5.0
_READY_S = 60.0
_ROLES = ("gateway", "worker", "store", "redis")


@dataclass
class Soak:
    """One installation, and what was done to it."""

    up: Up
    proxy: Proxy
    rng: random.Random
    folder: Path
    settings: dict[str, str]
    beside: Beside
    readiness: Readiness
    faults: Counter[str] = field(default_factory=Counter)
    rounds: list[Ledger] = field(default_factory=list)
    batches: int = 0
    rss: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    load: FaultLoad | None = None

    def pids(self, role: str) -> list[int]:
        """The processes that play this role now."""
        with suppress(OSError, ValueError):
            children = json.loads((self.up.folder / "ready.json").read_text())["children"]
            return list(map(int, children.get(role, [])))
        return []

    # -- the faults

    async def there(self, role: str) -> list[int]:
        """The same, once there are any: what was killed takes a while to be started again."""
        async with asyncio.timeout(_RECOVERY_S):
            while not (pids := self.pids(role)):
                await asyncio.sleep(0.05)
        return pids

    async def kill(self, role: str) -> None:
        for pid in await self.there(role):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def freeze(self, role: str) -> None:
        pids = await self.there(role)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(self.rng.uniform(0.2, 4))
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    async def kill_supervisor(self) -> None:
        port = int(self.up.url.rpartition(":")[2])
        self.up.stop(signal.SIGKILL)
        self.up = await asyncio.to_thread(
            lambda: start_up(self.up.folder, port=port, settings=self.settings)
        )

    async def wipe_redis(self) -> None:
        """Its files go while it stands still, then it dies: it starts again with nothing."""
        for pid in await self.there("redis"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                queue = self.up.folder / "data" / "queue"
                for path in queue.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                os.kill(pid, signal.SIGKILL)

    async def kill_shipper(self) -> None:
        assert self.load is not None
        # A strike that hits nobody must not count as one.
        async with asyncio.timeout(_RECOVERY_S):
            while (pid := shipper_of(self.load.training.root)) is None:
                await asyncio.sleep(0.05)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    async def restart_training(self) -> None:
        assert self.load is not None
        training = self.load.training
        training.kill()
        back = self.rng.randrange(100)
        await asyncio.to_thread(lambda: training.restart(back=back))

    async def link(self, what: str) -> None:
        flow = self.rng.choice([self.proxy.up, self.proxy.down])
        if what == "stalls":
            flow.stall()
        elif what == "is slow":
            flow.delay_s = flow.jitter_s = 0.2
        elif what == "is narrow":
            flow.bytes_per_s = 65_536
        elif what == "breaks midway":
            flow.reset_after = self.rng.randrange(20_000)
        else:
            self.proxy.reset_all()
        await asyncio.sleep(self.rng.uniform(0.2, 3))
        self.proxy.well()

    def choices(self) -> dict[str, Callable[[], Awaitable[None]]]:
        found: dict[str, Callable[[], Awaitable[None]]] = {
            "kill -9 supervisor": self.kill_supervisor,
            "Redis' folder deleted": self.wipe_redis,
            "kill -9 shipper": self.kill_shipper,
            "kill -9 training, restarted at a lower step": self.restart_training,
        }
        for role in _ROLES:
            found[f"kill -9 {role}"] = lambda role=role: self.kill(role)  # type: ignore[misc]
            found[f"SIGSTOP {role}"] = lambda role=role: self.freeze(role)  # type: ignore[misc]
        for what in ("stalls", "is slow", "is narrow", "breaks midway", "is reset"):
            found[f"link {what}"] = lambda what=what: self.link(what)  # type: ignore[misc]
        return found

    # -- the work

    async def round(self, number: int, until: float) -> None:
        """One load, faults until the round is over, and the ledger."""
        folder = self.folder / f"round{number}"
        store, token = _store_of(self.up)
        async with fault_load(self.proxy.url, self.up.api_key, store, token, folder) as load:
            self.load = load
            while time.monotonic() < until:
                await self.strike()
                await load.flowing(timeout_s=_RECOVERY_S)
                self.beside.look()
            found = await load.settle(_RECOVERY_S)
            self.batches += load.generated.batches
            self.load = None
        self.rounds.append(found)
        print(f"  round {number}: {load.report}: {found}", flush=True)
        if not await self.readiness.becomes_ready(_READY_S):
            self.readiness.lies.append(f"not ready {_READY_S:.0f} s after round {number}")

    async def settle(self, poison: Poison) -> None:
        """The cause of the poison is gone: one command, and everything is stored."""
        poison.clear()
        arguments = ["dead", "replay", "--all", "--data", str(self.up.folder / "data")]
        code = f"import sys; from penstock.cli import main; sys.exit(main({arguments}))"
        done = await asyncio.to_thread(self.up.run_python, code)
        print(f"  penstock dead replay --all: {done.stdout.strip()}{done.stderr}", flush=True)
        for name, found in (await self.beside.settle(_RECOVERY_S)).items():
            print(f"  {name}: {found}", flush=True)
            self.rounds.append(found)

    async def strike(self) -> None:
        """Two different faults at once, each up to three times in a row."""
        choices = self.choices()
        pair = self.rng.sample(sorted(choices), 2)
        times = [self.rng.choice([1, 1, 2, 3]) for _ in pair]
        print("  " + " + ".join(f"{t} × {n}" for n, t in zip(pair, times, strict=True)), flush=True)

        async def again(name: str, count: int) -> None:
            for _ in range(count):
                await choices[name]()
                self.faults[name] += 1
                await asyncio.sleep(self.rng.uniform(0, 0.5))

        # One restarts what the other looks for: `up` first, alone.
        if "kill -9 supervisor" in pair:
            for name, count in zip(pair, times, strict=True):
                await again(name, count)
        else:
            await asyncio.gather(*map(again, pair, times))

    async def watch(self) -> None:
        """Note how much memory each role takes."""
        started = time.monotonic()
        while True:
            roles = {role: self.pids(role) for role in _ROLES}
            roles["supervisor"] = [self.up.process.pid]
            for role, pids in roles.items():
                with suppress(psutil.Error):
                    rss = sum(psutil.Process(pid).memory_info().rss for pid in pids)
                    if pids:
                        at = time.monotonic() - started
                        self.rss.setdefault(role, []).append((at / 3_600, rss / 2**20))
            await asyncio.sleep(_SAMPLE_S)

    def report(self, seed: int, minutes: float) -> str:
        """What happened, as Markdown."""
        total = Ledger()
        for found in self.rounds:
            for name in ("points", "missing", "duplicate", "altered", "phantom"):
                setattr(total, name, getattr(total, name) + getattr(found, name))
        lines = [
            f"{minutes:.0f} minutes, seed {seed}, {len(self.rounds)} rounds, two faults at a time:",
            "",
            "| fault | times |",
            "|---|---|",
            *(f"| {name} | {count} |" for name, count in sorted(self.faults.items())),
            "",
            "| batches of the generated load | points | missing | duplicate | altered | phantom |",
            "|---|---|---|---|---|---|",
            f"| {self.batches:,} | {total.points:,} | {total.missing} | {total.duplicate} "
            f"| {total.altered} | {total.phantom} |",
            "",
            "| process | memory at the end | most | trend |",
            "|---|---|---|---|",
            *(_memory(role, samples) for role, samples in sorted(self.rss.items())),
            "",
            f"`/readyz`: {_counts(self.readiness.answers)}; problems: "
            f"{_counts(self.readiness.problems) or 'none'}; "
            f"false: {'; '.join(self.readiness.lies) or 'none'}.",
        ]
        return "\n".join(lines) + "\n"

    @property
    def is_clean(self) -> bool:
        is_true = not self.readiness.lies
        return is_true and bool(self.rounds) and all(found.is_clean for found in self.rounds)


def _memory(role: str, samples: list[tuple[float, float]]) -> str:
    hours, mib = np.array(samples).T
    # Fresh processes grow until they are warm: half an hour says something, two minutes do not.
    trend = f"{np.polyfit(hours, mib, 1)[0]:+.1f} MiB/h" if hours[-1] > 0.25 else "too short to say"
    return f"| {role} | {mib[-1]:.0f} MiB | {mib.max():.0f} MiB | {trend} |"


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))


async def run(minutes: float, seed: int, report: Path | None) -> bool:
    """Whether all was well; what a failed soak leaves in its folder is kept, to be looked at."""
    print(f"soak: {minutes:g} minutes, seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="penstock-soak-"))
    try:
        is_clean = await _soak(folder, minutes, seed, report)
    except BaseException:
        print(f"kept: {folder}", flush=True)
        raise
    if is_clean:
        shutil.rmtree(folder)
    else:
        print(f"kept: {folder}", flush=True)
    return is_clean


async def _soak(folder: Path, minutes: float, seed: int, report: Path | None) -> bool:
    rng = random.Random(seed)
    poison = Poison(folder / "failpoints", rng)
    for made in (folder / "up", poison.folder):
        made.mkdir()
    poison.set()
    settings = {"PENSTOCK_FAILPOINTS": str(poison.folder), "PENSTOCK_BATCH_TIMEOUT_S": "5"}
    up = await asyncio.to_thread(lambda: start_up(folder / "up", settings=settings))
    other_key = await asyncio.to_thread(new_key, up, "other", "read", "write")
    store, token = _store_of(up)
    async with (
        running_proxy(up.url, seed) as proxy,
        beside(proxy.url, up.api_key, other_key, store, token) as loads,
    ):
        readiness = Readiness(up.url, lambda: loads.committed)
        soak = Soak(up, proxy, rng, folder, settings, loads, readiness)
        watching = [asyncio.create_task(soak.watch()), asyncio.create_task(readiness.watch())]
        end = time.monotonic() + minutes * 60
        try:
            number = 0
            while time.monotonic() < end:
                await soak.round(number, min(end, time.monotonic() + _ROUND_S))
                number += 1
            await _end(watching)
            await soak.settle(poison)
        finally:
            await _end(watching)
            await loads.end()
            if soak.up.process.poll() is None:
                await asyncio.to_thread(soak.up.stop)
            text = soak.report(seed, minutes)
            print(f"\n{text}", flush=True)
            if report is not None:
                report.write_text(text)
    return soak.is_clean


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _store_of(up: Up) -> tuple[str, str]:
    """Where the store of an installation listens, and its token."""
    data = up.folder / "data"
    return f"unix://{data / 'run' / 'store.sock'}", (data / "secrets" / "store_token").read_text()


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--report", type=Path, help="also write the tables here, as Markdown")
    options = parser.parse_args()
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    return 0 if asyncio.run(run(options.minutes, seed, options.report)) else 1


if __name__ == "__main__":
    sys.exit(main())
