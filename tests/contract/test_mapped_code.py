"""The engine works on after its code was given back, also while statements run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from penstock_storage.embedded.mapped_code import _mapped

_SMAPS = """\
1000-3000 r--p 00000000 fe:00 7  /usr/lib/chdb/_chdb.abi3.so
Rss:           8 kB
Anonymous:     0 kB
3000-7000 r-xp 00002000 fe:00 7  /usr/lib/chdb/_chdb.abi3.so
Anonymous:     0 kB
7000-8000 r--p 00006000 fe:00 7  /usr/lib/chdb/_chdb.abi3.so
Anonymous:     4 kB
8000-9000 rw-p 00007000 fe:00 7  /usr/lib/chdb/_chdb.abi3.so
Anonymous:     0 kB
9000-a000 r-xp 00000000 fe:00 8  /usr/lib/libc.so.6
Anonymous:     0 kB
a000-b000 r--p 00000000 00:00 0
Anonymous:     0 kB
"""

_RUN = """
import re, sys, threading
from pathlib import Path
from chdb.session import Session
from penstock_storage.embedded.mapped_code import give_back

def mapped():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"RssFile:\\s+(\\d+)", status)[1]) // 1024

session = Session(sys.argv[1])
sql = "SELECT sum(cityHash64(number) % 7), uniq(number), quantile(number) FROM numbers(300000)"
first = session.query(sql).bytes()
before = mapped()
assert give_back() > 2**28
print(before, mapped())
working = threading.Thread(target=lambda: [session.query(sql) for _ in range(30)])
working.start()
while working.is_alive():
    give_back()
    working.join(0.01)
assert session.query(sql).bytes() == first
"""


def test_what_the_loader_changed_and_others_need_is_kept() -> None:
    assert list(_mapped(_SMAPS.splitlines())) == [(0x1000, 0x2000), (0x3000, 0x4000)]


@pytest.mark.heavy
@pytest.mark.smoke
def test_the_engine_works_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(tmp_path / "data")],
        capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    assert after < before / 2
