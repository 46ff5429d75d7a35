"""A damaged file of the embedded queue: a real Redis starts from what is sound of it, the rest is
kept aside, and JSON rows are saved from it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from support.up import Up, running_up, wait_until

from penstock.wire import Limits
from penstock_common.queue.redis_keys import RedisKeys, shard_of
from penstock_common.queue.scripts import APPEND, APPEND_ROWS
from penstock_ingest.rows import batches_from_json
from penstock_server.queue_file.aof_files import paths_of
from penstock_server.queue_file.commands import encode
from penstock_server.queue_file.keeper import QueueKeeper
from penstock_server.redis_server import config, find_server

KEYS = RedisKeys()
SHARD = 0
STREAM = KEYS.stream(SHARD)
NATIVE = "local/p/r/0123456789"


class Queue:
    """Redis in a folder as the supervisor runs it, in so far as its file is concerned."""

    def __init__(self, folder: Path, short: Path) -> None:
        self.folder = folder / "queue"
        self.folder.mkdir()
        self.told: list[str] = []
        self._socket = short / "redis.sock"
        self._config = folder / "redis.conf"
        log = folder / "redis.log"
        self.set_config("")
        self.keeper = QueueKeeper(self.folder, log, KEYS, self.told.append)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = False

    @property
    def file(self) -> Path:
        """The file that Redis appends to: of Redis 7, the last of several."""
        return paths_of(self.folder)[0][-1]

    def set_config(self, more: str) -> None:
        log = self._config.with_name("redis.log")
        text = config(socket=self._socket, folder=self.folder, maxmemory_bytes=2**28, log=log)
        self._config.write_text(f"{text}\n{more}\n")

    def start(self) -> Any:
        """Start it, with repairs if need be, and wait until it answers."""
        if not self._started:
            self.keeper.starting()
            self._started = True
        deadline = time.monotonic() + 20
        for _ in range(4):
            self._process = subprocess.Popen([find_server(), str(self._config)])
            client = redis.Redis(unix_socket_path=str(self._socket), retry=Retry(NoBackoff(), 0))
            while self._process.poll() is None:
                assert time.monotonic() < deadline
                try:
                    client.get("x")
                except redis.RedisError:
                    time.sleep(0.01)
                else:
                    return client
            self.keeper.ended(self._process.returncode)
        raise AssertionError(f"Redis does not start: {self.keeper.trouble}")

    def end(self, *, kill: bool = False) -> None:
        if self._process is not None:
            self._process.kill() if kill else self._process.terminate()
            self.keeper.ended(self._process.wait(20))
            self._process = None

    def reboot(self) -> None:
        """The machine went down: the next start is that of another supervisor."""
        self.end(kill=True)
        (self.folder / "boot").write_text("another boot")
        self._started = False


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with tempfile.TemporaryDirectory(prefix="ps-") as short:
        running = Queue(tmp_path, Path(short))
        try:
            yield running
        finally:
            running.end()


def send_row(client: Any, number: int, *, key: str = "") -> int:
    """A request of JSON rows, as the gateway appends it; returns the number it got."""
    names = (
        STREAM, KEYS.pending(SHARD), KEYS.committed(SHARD), KEYS.incarnation(SHARD),
        KEYS.dead_seqs(SHARD), KEYS.http_seq(SHARD), KEYS.idempotency(SHARD, "p", key),
        KEYS.parked(SHARD), KEYS.parked_bytes(SHARD),
    )  # fmt: skip
    batch = b"row %d " % number + b"\r\n*3\r\n$4\r\n\0" * 5
    answer = client.eval(APPEND_ROWS, 9, *names, f"i{number}", "local/p/r", batch, 1, "", 60, 1, 1)
    return int(answer[4])


def send_batch(client: Any, seq: int) -> None:
    names = (
        STREAM, KEYS.pending(SHARD), KEYS.committed(SHARD), KEYS.incarnation(SHARD),
        KEYS.dead_seqs(SHARD), KEYS.digests(SHARD), KEYS.parked(SHARD), KEYS.parked_bytes(SHARD),
    )  # fmt: skip
    client.eval(APPEND, 8, *names, "i", NATIVE, seq, b"batch %d" % seq, 1, 1, 1)


def queued(client: Any) -> list[bytes]:
    """The first two words of every batch in the stream."""
    entries = client.xrange(STREAM)
    return [b" ".join(fields[b"b"].split()[:2]) for _, fields in entries]


def fill(client: Any, first: int = 1) -> None:
    for number in range(first, first + 10):
        send_row(client, number)
        send_batch(client, number)
    # On a busy disk Redis holds back what it writes for up to two seconds.
    wait_until(lambda: client.info("persistence")["aof_buffer_length"] == 0)


ROWS = [b"row %d" % number for number in range(1, 11)]
ALL = [each for n in range(1, 11) for each in (b"row %d" % n, b"batch %d" % n)]


def zeros(data: bytes) -> bytes:
    return data + b"\0" * 4096


def overwritten(data: bytes) -> bytes:
    return data[:-300] + b"\0" * 300


def truncated(data: bytes) -> bytes:
    return data[:-7]


def damaged_middle(data: bytes) -> bytes:
    middle = data.index(b"row 5") - 40
    return data[:middle] + b"\0" * 30 + data[middle + 30 :]


def unknown_command(data: bytes) -> bytes:
    before, after = data[: data.index(b"row 5")], data[data.index(b"row 5") :]
    at = before.rindex(b"XADD")
    return before[:at] + b"XAED" + before[at + 4 :] + after


def first_byte(data: bytes) -> bytes:
    return b"\xff" + data[1:]


@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        (zeros, []),
        (lambda data: data + b"\xde\xad\xbe\xef" * 10, []),
        (lambda data: data + b"*3\r\n$4\r\nXADD\r\n", []),
        (overwritten, [b"batch 10"]),
        (truncated, [b"batch 10"]),
        # Behind the damage, what is numbered by clients is for them to send again.
        (damaged_middle, [b"row 5", *(b"batch %d" % n for n in range(5, 11))]),
        (unknown_command, [b"row 5", *(b"batch %d" % n for n in range(5, 11))]),
        (first_byte, [b"batch %d" % n for n in range(1, 11)]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kill", [True, False])
def test_redis_starts_from_what_is_sound_and_rows_are_saved(
    queue: Queue, damage: Callable[[bytes], bytes], lost: list[bytes], kill: bool
) -> None:
    fill(queue.start())
    queue.end(kill=kill)
    file, data = queue.file, damage(queue.file.read_bytes())
    file.write_bytes(data)
    client = queue.start()
    assert queued(client) == [each for each in ALL if each not in lost]
    # Kept aside as it was, for its owner only; and said, with where it is.
    (aside,) = queue.folder.glob("damaged-*")
    assert aside.stat().st_mode & 0o777 == 0o700
    assert next(aside.rglob(file.name)).read_bytes() == data
    assert len(queue.told) == 1
    assert str(aside) in queue.told[0]
    assert queue.keeper.damages() == queue.told
    # It goes on, and starts again without a repair.
    send_batch(client, 11)
    queue.end()
    assert queued(queue.start())[-1] == b"batch 11"
    assert len(queue.told) == 1


def test_rows_get_no_number_again_that_was_lost(queue: Queue) -> None:
    client = queue.start()
    writer = {send_row(client, n): client.get(KEYS.incarnation(SHARD)) for n in (1, 2)}[2]
    queue.end()
    queue.file.write_bytes(truncated(queue.file.read_bytes()))
    client = queue.start()
    send_row(client, 3)
    names = [fields[b"w"] for _, fields in client.xrange(STREAM)]
    assert names[0].endswith(b"http-" + writer)
    assert names[-1] != names[0]


def test_a_machine_that_went_down_costs_no_number_either(queue: Queue) -> None:
    client = queue.start()
    send_row(client, 1)
    queue.reboot()
    client = queue.start()
    assert "went down" in queue.told[0]
    assert send_row(client, 2) == 1
    first, second = (fields[b"w"] for _, fields in client.xrange(STREAM))
    assert first != second


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_nothing_is_said_of_a_redis_that_lost_nothing(queue: Queue, end: str) -> None:
    fill(queue.start())
    queue.end(kill=end == "killed")
    assert queued(queue.start()) == ALL
    assert queue.told == []
    assert not list(queue.folder.glob("damaged-*"))


@pytest.mark.parametrize("damage", [zeros, truncated, damaged_middle])
def test_a_file_that_begins_with_a_snapshot_is_cut_behind_it(
    queue: Queue, damage: Callable[[bytes], bytes]
) -> None:
    """As it was written before, after a rewrite."""
    queue.set_config("aof-use-rdb-preamble yes")
    client = queue.start()
    client.rpush("list", *(b"element %d" % n for n in range(2_000)))
    client.zadd("zset", {f"m{n}": n / 3 for n in range(500)})
    client.sadd("set", *range(1_000))
    client.set("number", 12345, ex=1_000)
    for number in range(-20, 0):
        send_batch(client, number + 100)
    rewrite(client)
    fill(client)
    queue.end()
    assert paths_of(queue.folder)[0][0].read_bytes()[:5] == b"REDIS"
    queue.file.write_bytes(damage(queue.file.read_bytes()))
    client = queue.start()
    found = queued(client)
    assert found[:20] == [b"batch %d" % n for n in range(80, 100)]
    assert [each for each in found if each in ROWS] == [
        each for each in ROWS if each != b"row 5" or damage is not damaged_middle
    ]
    assert client.zcard("zset") == 500


def test_a_damaged_snapshot_is_set_aside_whole(queue: Queue) -> None:
    queue.set_config("aof-use-rdb-preamble yes")
    client = queue.start()
    client.set("big", b"x" * 1_000)
    rewrite(client)
    fill(client)
    queue.end()
    file = paths_of(queue.folder)[0][0]
    data = bytearray(file.read_bytes())
    data[60] ^= 0xFF
    file.write_bytes(bytes(data))
    client = queue.start()
    assert queued(client) == ROWS
    assert not client.exists("big")


def test_only_the_newest_damaged_files_are_kept(queue: Queue) -> None:
    for _ in range(5):
        fill(queue.start())
        queue.end()
        queue.file.write_bytes(zeros(queue.file.read_bytes()))
    queue.start()
    assert len(list(queue.folder.glob("damaged-*"))) == 3


def test_a_redis_that_fails_for_another_reason_is_not_repaired(queue: Queue) -> None:
    fill(queue.start())
    queue.end()
    before = queue.file.read_bytes()
    queue.set_config("maxmemory-policy nonsense")
    with pytest.raises(AssertionError, match="does not start"):
        queue.start()
    assert queue.file.read_bytes() == before
    assert queue.told == []


def rewrite(client: Any) -> None:
    client.bgrewriteaof()
    deadline = time.monotonic() + 20
    while client.info("persistence")["aof_rewrite_in_progress"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


# -- as a user meets it

ROW = {"project": "p", "run": "r", "rows": [{"step": 1, "v": 1.5}]}


def is_stored(up: Up, key: str) -> bool:
    question = {"project": "p", "runs": ["r"], "keys": [key], "buckets": 10}
    try:
        return bool(up.post("/v1/charts", question)["series"])
    except OSError:
        return False


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(120)
def test_up_starts_on_a_damaged_queue_and_says_so(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        up.post("/v1/batches", ROW)
        wait_until(lambda: is_stored(up, "v"), 30)
    queue = tmp_path / "data" / "queue"
    # Redis 7 keeps it in parts.
    *_, file = (*queue.glob("appendonly.aof"), *queue.glob("appendonlydir/*.incr.aof"))
    body = b'{"project": "p", "run": "r", "rows": [{"step": 2, "lost": 2.5}]}'
    ((_, batch),) = batches_from_json(body, Limits())
    fields = ("w", "local/p/r/http-old", "s", "1", "b", batch, "t", "1")
    row = encode("XADD", KEYS.stream(shard_of("local/p/r")), "9999999999999-0", *fields)
    file.write_bytes(file.read_bytes() + b"\0" * 1000 + b"\r\n" + row)
    with (tmp_path / "said").open("wb") as said, running_up(tmp_path, stderr=said) as up:
        wait_until(lambda: is_stored(up, "lost"), 30)
        assert b"The queue's file was damaged" in (tmp_path / "said").read_bytes()


@pytest.mark.heavy
@pytest.mark.timeout(60)
def test_up_says_at_once_why_redis_does_not_start(tmp_path: Path) -> None:
    queue = tmp_path / "data" / "queue"
    queue.mkdir(parents=True)
    (queue / "appendonly.aof").write_bytes(b"REDIS9999\xfa")
    arguments = ["up", "--port", "0", "--data", str(queue.parent)]
    command = [sys.executable, "-m", "penstock.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode != 0
    assert "Can't handle RDB format version" in done.stderr
