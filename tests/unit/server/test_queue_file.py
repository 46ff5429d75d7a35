"""How far an append-only file is sound, and what can be saved from behind its damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock_common.queue.redis_keys import RedisKeys
from penstock_server.queue_file.commands import encode, readable_commands, sound_end
from penstock_server.queue_file.preamble import preamble_end
from penstock_server.queue_file.repair import finish_repair, repair
from penstock_server.queue_file.rows import QueuedRows, rows_in

KEYS = RedisKeys()
STREAM = KEYS.stream(3)


def added(seq: int, writer: str = "local/p/r/http-1a", stream: str = STREAM) -> bytes:
    fields = ("w", writer, "s", str(seq), "b", f"batch {seq}\r\n*1\r\n", "t", "1")
    return encode("XADD", stream, f"{seq}-0", *fields)


SELECT = encode("SELECT", "0")
PAIR = encode("MULTI") + added(1) + encode("HINCRBY", "h", "f", "1") + encode("EXEC")


@pytest.mark.parametrize(
    ("tail", "kept"),
    [
        (b"", b""),
        (b"\0" * 100, b""),
        (b"garbage\r\n", b""),
        (b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nab", b""),
        (b"*3\r\n$3\r\nSET\r\n$99999999999999\r\n", b""),
        (b"*-1\r\n", b""),
        (b"*1000000000\r\n", b""),
        (encode("SET", "a", "b") + b"\0", encode("SET", "a", "b")),
        (b"#TS:1700000000\r\n" + encode("DEL", "a"), b"#TS:1700000000\r\n" + encode("DEL", "a")),
        (PAIR[:-10], b""),
        (PAIR.replace(b"EXEC", b"EXEX"), b""),
        (PAIR + encode("MULTI"), PAIR),
    ],
)
def test_a_file_is_sound_up_to_its_last_whole_transaction(tail: bytes, kept: bytes) -> None:
    whole = SELECT + PAIR
    assert sound_end(whole + tail) == len(whole + kept)


def test_it_is_not_sound_from_a_command_on_that_redis_refuses() -> None:
    assert sound_end(SELECT + PAIR + encode("xade", "a") + PAIR, 0, [b"XADE"]) == len(SELECT + PAIR)


def test_every_cut_and_every_flipped_byte_leaves_a_whole_prefix() -> None:
    data = SELECT + PAIR + encode("SET", "a", "b")
    ends = {0, len(SELECT), len(SELECT + PAIR), len(data)}
    for at in range(len(data)):
        assert sound_end(data[:at]) in ends
        flipped = bytearray(data)
        flipped[at] ^= 0xFF
        assert sound_end(bytes(flipped)) <= len(data)


def test_rows_behind_damage_are_found_unless_they_were_taken_out() -> None:
    data = (
        b"\0" * 50 + b"\r\n$7\r\nhalf of"
        + b"\r\n" + added(1) + added(2) + b"*3\r\n$4\r\nXADD\r\n" + added(3)
        + added(4, writer="local/p/r/0123456789") + added(5, stream=KEYS.dead(3))
        + encode("XDEL", STREAM, "2-0", "9-0") + b"\0" * 9
    )  # fmt: skip
    assert [(row.id, row.stream) for row in rows_in(readable_commands(data))] == [
        (b"1-0", STREAM.encode()),
        (b"3-0", STREAM.encode()),
        (b"5-0", KEYS.dead(3).encode()),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("XADD",), ("XADD", "s"), ("XADD", "s", "1-0", "w"), ("XADD", "s", "1-0", "w", "http-1"),
        ("XADD", "s", "1-0", "w", "a/b/c/http-1", "s", "1", "b", "x"), ("XDEL",), ("PING",),
    ],
)  # fmt: skip
def test_what_is_no_row_is_passed_over(arguments: tuple[str, ...]) -> None:
    assert rows_in(readable_commands(encode(*arguments))) == []


def test_rows_are_put_back_under_their_own_id_and_number() -> None:
    (row,) = rows_in(readable_commands(added(7)))
    assert row == QueuedRows(STREAM.encode(), b"7-0", row.fields)
    again, seen = readable_commands(row.commands(KEYS))
    assert again == [b"XADD", STREAM.encode(), b"7-0", *row.fields]
    assert seen == [b"HSET", KEYS.pending(3).encode(), b"7/local/p/r/http-1a", b"7-0"]


@pytest.mark.parametrize(
    "data", [b"REDIS", b"REDIS0009", b"REDIS0009\xfe", b"REDIS0009\xff1234567"]
)
def test_a_snapshot_that_is_cut_short_has_no_end(data: bytes) -> None:
    assert preamble_end(data) is None


def test_an_empty_snapshot_ends_behind_its_checksum() -> None:
    assert preamble_end(b"REDIS0009\xfe\x00\xff12345678*1") == 20


BASE, FIRST, SECOND = SELECT + encode("SET", "a", "b"), SELECT + added(1), SELECT + added(2)


def several(
    folder: Path, *, base: bytes = BASE, first: bytes = FIRST, second: bytes = SECOND
) -> Path:
    """A queue in parts, as Redis 7 writes it."""
    parts = folder / "appendonlydir"
    parts.mkdir()
    (parts / "appendonly.aof.2.base.aof").write_bytes(base)
    (parts / "appendonly.aof.3.incr.aof").write_bytes(first)
    (parts / "appendonly.aof.4.incr.aof").write_bytes(second)
    manifest = "".join(
        f"file appendonly.aof.{number}.{kind}.aof seq {number} type {kind[0]}\n"
        for number, kind in ((2, "base"), (3, "incr"), (4, "incr"))
    )
    (parts / "appendonly.aof.manifest").write_text(manifest)
    return parts


def repaired(folder: Path) -> tuple[bytes, list[bytes]]:
    """What a repair keeps, and the ids of the rows that it saves."""
    done = repair(folder, KEYS)
    assert done is not None
    data = (folder / "appendonly.aof").read_bytes()
    commands = list(readable_commands(data, done.kept_bytes))
    return data[: done.kept_bytes], [each[2] for each in commands if each[0] == b"XADD"]


def test_a_queue_in_parts_is_repaired_into_one_file(tmp_path: Path) -> None:
    several(tmp_path, second=SECOND + b"\0" * 10)
    assert repaired(tmp_path) == (BASE + FIRST + SECOND, [])
    assert not (tmp_path / "appendonlydir").exists()
    (aside,) = tmp_path.glob("damaged-*")
    assert len(list((aside / "appendonlydir").iterdir())) == 4
    assert repair(tmp_path, KEYS) is None


def test_behind_a_damaged_part_all_is_cut_off(tmp_path: Path) -> None:
    several(tmp_path, first=SELECT + b"\0\r\n" + added(1))
    assert repaired(tmp_path) == (BASE + SELECT, [b"1-0", b"2-0"])


def test_a_row_that_a_later_part_takes_out_is_not_saved(tmp_path: Path) -> None:
    several(tmp_path, first=b"\0\r\n" + added(1), second=SECOND + encode("XDEL", STREAM, "1-0"))
    assert repaired(tmp_path) == (BASE, [b"2-0"])


def test_a_part_that_is_missing_is_damage(tmp_path: Path) -> None:
    (several(tmp_path) / "appendonly.aof.2.base.aof").unlink()
    assert repaired(tmp_path) == (b"", [b"1-0", b"2-0"])


@pytest.mark.parametrize("manifest", [b"", b"\0" * 50, b"file x\n", b"\xff\xfe"])
def test_parts_are_found_by_their_names_if_their_list_is_damaged(
    tmp_path: Path, manifest: bytes
) -> None:
    (several(tmp_path) / "appendonly.aof.manifest").write_bytes(manifest)
    assert repaired(tmp_path) == (BASE + FIRST + SECOND, [])


def test_a_sound_queue_is_left_alone(tmp_path: Path) -> None:
    several(tmp_path)
    assert repair(tmp_path, KEYS) is None
    assert {path.name for path in tmp_path.iterdir()} == {"appendonlydir"}


def test_a_repair_that_was_broken_off_is_finished(tmp_path: Path) -> None:
    fresh = tmp_path / ".appendonly.aof.repaired"
    fresh.write_bytes(BASE)
    finish_repair(tmp_path)
    assert (tmp_path / "appendonly.aof").read_bytes() == BASE
    fresh.write_bytes(b"half of it")
    finish_repair(tmp_path)
    assert (tmp_path / "appendonly.aof").read_bytes() == BASE
    assert not fresh.exists()
