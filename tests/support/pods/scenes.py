"""A scene: a load runs through a cluster while something happens to its pods. The ledger judges it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from support.faultload import FaultLoad, fault_load
from support.pods.cluster import Cluster
from support.pods.pauses import Pauses, measured_pauses

__all__ = ["Play", "Scene", "played"]

_MIN_POINTS = 10_000


@dataclass
class Scene:
    """A load on its way through a cluster, and what is measured of it. Set `is_planned` to False in a scene in
    which requests may fail: a pod dies, or its network does."""

    load: FaultLoad
    pauses: Pauses
    is_planned: bool = True


Play = Callable[[Cluster], AbstractAsyncContextManager[Scene]]
"""`async with scene(cluster) as playing`: the block is the scene; what comes before it is not measured."""


@asynccontextmanager
async def played(
    cluster: Cluster, folder: Path, note: Callable[[Scene], None]
) -> AsyncIterator[Scene]:
    """Let the block play while a load runs; `note` gets the scene when everything is stored.

    Afterwards the load goes on for a while, then nothing may be missing. No pod may have failed its liveness. In
    what is planned, no request may have failed either.
    """
    settings, service = cluster.settings, cluster.ingest
    store = settings["store_url"], settings["store_token"]
    async with (
        fault_load(service.url, cluster.api_key, *store, folder) as load,
        measured_pauses(load, cluster.page.url) as pauses,
    ):
        scene = Scene(load, pauses)
        await load.flowing()
        pauses.reset()
        yield scene
        await load.flowing(timeout_s=90)
        pauses.close()
        found = await load.settle()
        note(scene)
        assert found.is_clean, str(found)
        assert found.points > _MIN_POINTS
        failed = {pod.name: pod.live_failures for pod in cluster.pods if pod.live_failures}
        assert not failed, f"liveness failed: {failed}"
        if scene.is_planned:
            assert load.generated.statuses <= {200, 202, 404}
            assert (load.generated.refused, load.generated.broken) == (0, 0)
            assert (service.refused, service.unserved, cluster.page.refused) == (0, 0, 0)
