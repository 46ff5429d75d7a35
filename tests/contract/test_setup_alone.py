"""Stores are created and upgraded by one process at a time, on every database."""

from __future__ import annotations

import asyncio

from support.catalogs import NewUrl

from penstock_storage.connect import open_catalog, set_up


class Recorded:
    """A point store that notes when it is set up; each takes until all that want to begin have asked."""

    def __init__(self, log: list[str], may_end: asyncio.Event) -> None:
        self._log = log
        self._may_end = may_end

    async def setup(self) -> None:
        self._log.append("begins")
        await self._may_end.wait()
        self._log.append("ends")


async def test_two_that_start_at_once_set_up_one_after_the_other(new_empty_url: NewUrl) -> None:
    url, log, may_end = await new_empty_url(), list[str](), asyncio.Event()
    catalogs = [open_catalog(url) for _ in range(3)]
    starting = [
        asyncio.create_task(set_up(each, Recorded(log, may_end)))  # type: ignore[arg-type]
        for each in catalogs
    ]
    async with asyncio.timeout(30):
        while not log:
            await asyncio.sleep(0.01)
        # Those that wait keep nobody from working, and neither does the one that sets up.
        assert await catalogs[0].api_key("none") is None
        await catalogs[0].ensure_project("e", "p")
        may_end.set()
        await asyncio.gather(*starting)
    assert log == ["begins", "ends"] * 3
    for each in catalogs:
        await each.close()


async def test_one_that_is_given_up_lets_the_next_one_begin(new_empty_url: NewUrl) -> None:
    url, log, may_end = await new_empty_url(), list[str](), asyncio.Event()
    first, second = open_catalog(url), open_catalog(url)
    given_up = asyncio.create_task(set_up(first, Recorded(log, may_end)))  # type: ignore[arg-type]
    async with asyncio.timeout(30):
        while not log:
            await asyncio.sleep(0.01)
        given_up.cancel()
        await asyncio.wait([given_up])
        may_end.set()
        await set_up(second, Recorded(log, may_end))  # type: ignore[arg-type]
    assert log == ["begins", "begins", "ends"]
    await first.close()
    await second.close()
