"""What scripts print under the official client: every line, as it last was."""

from __future__ import annotations

from support.logged import Logged
from support.up import Up
from support.wandb_scripts import run_wandb


def console(up: Up, run: str, body: str, settings: str = "") -> list[tuple[str, str]]:
    """(stream, text) of each line that a script with this body printed; they are what the client
    itself kept of them."""
    code = f"""
import sys, time, wandb
run = wandb.init(project="console", id={run!r}, settings=wandb.Settings({settings}))
{body}
run.finish()
"""
    ended = run_wandb(up, code).check()
    lines = Logged(up, "console", run).console()
    assert [line.number for line in lines] == list(range(len(lines)))
    kept = (ended.run_folders()[0] / "files" / "output.log").read_text() if lines else ""
    assert [line.text for line in lines] == [line.rstrip(" ") for line in kept.splitlines()]
    return [(line.stream, line.text) for line in lines]


def test_both_streams(up: Up) -> None:
    body = """
print("first")
print("größer \\U0001f600", flush=True)
time.sleep(0.5)
print("an error", file=sys.stderr, flush=True)
time.sleep(0.5)
print()
print("  indented, and the end")
"""
    assert console(up, "streams", body) == [
        ("stdout", "first"),
        ("stdout", "größer \U0001f600"),
        ("stderr", "an error"),
        ("stdout", ""),
        ("stdout", "  indented, and the end"),
    ]


def test_a_progress_bar_is_one_line(up: Up) -> None:
    body = """
print("before")
for i in range(101):
    print(f"\\r{i:3d}% {'#' * (i // 10)}", end="", flush=True)
    time.sleep(0.02)
print()
print("after")
"""
    texts = [text for _, text in console(up, "bar", body)]
    assert texts == ["before", "100% " + "#" * 10, "after"]


def test_bars_below_each_other(up: Up) -> None:
    """As the client hands them on: moves of the cursor by escape codes are part of the lines."""
    body = """
print("a 0\\nb 0", flush=True)
for i in range(1, 21):
    print(f"\\x1b[2Aa {i}\\x1b[K\\nb {i}\\x1b[K", flush=True)
    time.sleep(0.05)
print("end")
"""
    texts = [text for _, text in console(up, "bars", body)]
    assert texts[:3] == ["a 0", "b 0", "\x1b[2Aa 1\x1b[K"]
    assert texts[-2:] == ["b 20\x1b[K", "end"]
    assert len(texts) == 43


def test_colours(up: Up) -> None:
    texts = [text for _, text in console(up, "colours", 'print("\\x1b[31mred\\x1b[0m plain")')]
    assert len(texts) == 1
    assert "red" in texts[0]
    assert texts[0].replace("\x1b[31m", "").replace("\x1b[0m", "") == "red plain"


def test_thousands_of_lines(up: Up) -> None:
    body = """
for i in range(5_000):
    print(f"line {i} {'x' * (i % 50)}.")
"""
    texts = [text for _, text in console(up, "many", body)]
    assert texts == [f"line {i} {'x' * (i % 50)}." for i in range(5_000)]


def test_switched_off(up: Up) -> None:
    assert console(up, "off", 'print("not kept")', "console='off'") == []
