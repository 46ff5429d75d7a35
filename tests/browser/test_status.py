"""The banner with problems of the server, on every page, and only while there are any."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from browser.sweep import Open
from playwright.sync_api import expect
from support.up import Up, running_up

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]

TELL = """
import asyncio, sys
from penstock_common.queue.redis_keys import RedisKeys
from penstock_common.queue.problem_list import Problems
from penstock_common.queue.connection import connect

async def main(socket, code, text, ttl_s):
    redis = connect(f"unix://{socket}", timeout_s=5)
    await Problems(redis, RedisKeys()).tell(code, text, ttl_s=float(ttl_s))
    await redis.aclose()

asyncio.run(main(*sys.argv[1:]))
"""


def tell(up: Up, code: str, text: str, ttl_s: float = 60) -> None:
    socket = str(up.folder / "data" / "run" / "redis.sock")
    command = [sys.executable, "-c", TELL, socket, code, text, str(ttl_s)]
    subprocess.run(command, check=True, timeout=30)


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_problems_are_shown_on_every_page(
    open_page: Open, tmp_path: Path, scheme: str, width: int
) -> None:
    with running_up(tmp_path) as up:
        up.post("/v1/batches", {"project": "p", "run": "a", "rows": [{"step": 0, "x": 1}]})
        page = open_page(f"{up.url}/?project=local/p", scheme=scheme, width=width)
        banner = page.get_by_role("region", name="Server status")
        expect(page.get_by_text("live").first).to_be_attached()
        expect(banner).to_have_count(0)

        tell(up, "writers_parked", "2 writers of run a are parked.", ttl_s=25)
        tell(up, "worker_at_fault", "Batches of 5 runs failed in worker-0.", ttl_s=25)
        for address in ("?project=local/p", "?project=local/p&run=a", "?list"):
            page.goto(f"{up.url}/{address}")
            expect(banner).to_contain_text("Batches of 5 runs failed in worker-0.")
            expect(banner).to_contain_text("See the worker's log")
        expect(banner).not_to_contain_text("parked")
        banner.get_by_role("button", name="1 more").click()
        expect(banner).to_contain_text("2 writers of run a are parked.")
        expect(banner.locator("code")).to_have_text("penstock dead list")
        # Nothing overflows a narrow screen.
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        expect(banner).to_have_count(0, timeout=60_000)


def test_an_unreachable_server_is_reported(open_page: Open, tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        page = open_page(f"{up.url}/?list", expected="ERR_")
        banner = page.get_by_role("region", name="Server status")
        expect(page.get_by_text("Penstock").first).to_be_visible()
        up.stop()
        expect(banner).to_contain_text("The server is not responding.", timeout=60_000)
