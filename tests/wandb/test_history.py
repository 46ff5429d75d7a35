"""What was logged comes back through `wandb.Api`, value by value: whole, in pages, thinned."""

from __future__ import annotations

import inspect
import itertools
import json
import textwrap
from typing import Any

import pytest
from support.up import Up
from support.wandb_scripts import run_wandb

_LOG = (
    "from typing import Any\nimport wandb\n",
    """
run = wandb.init(project="history", id="values")
for i in range(50):
    logged = row(i)
    if "media" in logged:
        logged["media"] = wandb.Histogram(np_histogram=([1, 2], [0.0, 0.5, 1.0]))
    run.log(logged, step=3 * i)
run.finish()
with wandb.init(project="history", id="steps") as run:
    for i in range(1, 2001):
        run.log({"x": i})
        if i % 4 == 0:
            run.log({"rare": i / 4})
wandb.init(project="history", id="empty").finish()
""",
)
"""Before and behind the source of `row`."""
_NATIVE = """
import penstock
run = penstock.init(project="history", id="native")
for i in range(40):
    run.log({"loss": float("nan") if i == 7 else 1 / (i + 1), "epoch": i}, step=i)
    if i == 20:
        run.log({"text": "there"}, step=i)
run.finish()
"""
_ALWAYS = ("_step", "_timestamp", "_runtime")


def row(i: int) -> dict[str, Any]:
    """What is logged at step 3 * i."""
    found: dict[str, Any] = {"loss": 1 / (i + 1), "epoch": i, "constant": 2, "a.dot": i}
    found |= {"nested": {"a": {"b": i, "c": i / 2}}, "a/slash": -i}
    odd: dict[int, dict[str, Any]] = {
        3: {"loss": float("nan")}, 4: {"loss": float("inf")}, 5: {"loss": float("-inf")},
        6: {"text": "hello \u00fc\u2028 \U0001f600"}, 7: {"flag": True, "off": False},
        8: {"list": [1, 2.5, "x", [True]]}, 9: {"nothing": None},
        11: {"big": 2**53, "tiny": 5e-324}, 12: {"list": []}, 13: {"text": ""}, 14: {"media": "H"},
    }  # fmt: skip
    return {**found, **odd.get(i, {})}


@pytest.fixture(scope="module", autouse=True)
def logged(up: Up) -> None:
    run_wandb(up, inspect.getsource(row).join(_LOG)).check()
    ended = up.run_python(_NATIVE)
    assert ended.returncode == 0, ended.stderr


def read(up: Up, code: str, run: str = "history/values") -> Any:
    """What a script prints of `run` in a new `wandb.Api`; `show` prints, as JSON."""
    begin = f"""
import json, wandb
api = wandb.Api()
run = api.run({run!r})
def show(found): print(json.dumps(found))
"""
    return json.loads(run_wandb(up, begin + textwrap.dedent(code)).check().stdout)


def expected(i: int) -> dict[str, Any]:
    """A row as it is read: nested keys with dots."""
    found = row(i)
    nested = found.pop("nested")["a"]
    found |= {f"nested.a.{key}": value for key, value in nested.items()}
    if "media" in found:
        found["media"] = {"_type": "histogram", "values": [1, 2], "bins": [0.0, 0.5, 1.0]}
    return {"_step": 3 * i, **found}


def plain(rows: list[dict[str, Any]]) -> list[str]:
    """Rows that can be compared, NaN with NaN and 1 with 1.0, which the client itself does not keep
    apart; without what the clock made of them."""
    return [
        json.dumps({k: _plain(v) for k, v in each.items() if k not in _ALWAYS[1:]}, sort_keys=True)
        for each in rows
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


@pytest.mark.smoke
def test_full_history_is_what_was_logged(up: Up) -> None:
    found = read(up, "show(run.history(pandas=False))")
    assert plain(found) == plain([expected(i) for i in range(50)])
    assert all(type(each["epoch"]) is int and type(each["loss"]) is float for each in found)
    runtimes = [each["_runtime"] for each in found]
    assert runtimes == sorted(runtimes)
    assert 0 <= runtimes[0] < 60
    times = [each["_timestamp"] for each in found]
    assert times == sorted(times)
    assert times[0] > 1e9


def test_scans_are_whole_in_any_pages(up: Up) -> None:
    found = read(
        up,
        """
        scans = [list(run.scan_history(page_size=size)) for size in (1, 7, 1000)]
        ranges = [list(run.scan_history(min_step=lo, max_step=hi, page_size=10))
                  for lo, hi in ((30, 60), (31, 61), (0, 1), (140, 10**6), (147, 148))]
        keyed = [list(run.scan_history(keys=["loss", "epoch"], page_size=size)) for size in (10, 999)]
        gaps = [list(run.scan_history(keys=keys)) for keys in (["text"], ["text", "list"], ["no"])]
        beta = list(run.beta_scan_history())
        show([scans, ranges, keyed, gaps, beta])
        """,
    )
    scans, ranges, keyed, gaps, beta = found
    for scan in [*scans, beta]:
        assert plain(scan) == plain([expected(i) for i in range(50)])
    steps = [[each["_step"] for each in rows] for rows in ranges]
    assert steps == [
        list(range(30, 60, 3)), list(range(33, 61, 3)), [0], [141, 144, 147], [147],
    ]  # fmt: skip
    odd = {3: "NaN", 4: "Infinity", 5: "-Infinity"}  # JSON has no other word for them
    for rows in keyed:
        assert [each["_step"] for each in rows] == list(range(0, 150, 3))
        assert [each["loss"] for each in rows] == [odd.get(i, 1 / (i + 1)) for i in range(50)]
        assert set(rows[0]) == {"_step", "loss", "epoch"}
    texts = [expected(i) for i in (6, 13)]
    assert gaps[0] == [{"_step": each["_step"], "text": each["text"]} for each in texts]
    assert gaps[1:] == [[], []]


def test_keys_of_the_history_are_exact(up: Up) -> None:
    found = read(up, "show([run.history_keys, run.lastHistoryStep])")
    keys, last = found
    assert keys["lastStep"] == last == 147
    counts = {name: each["typeCounts"] for name, each in keys["keys"].items()}
    assert counts["epoch"] == [{"type": "number", "count": 50}]
    assert counts["nested.a.b"] == [{"type": "number", "count": 50}]
    assert counts["text"] == [{"type": "string", "count": 2}]
    assert counts["media"] == [{"type": "histogram", "count": 1}]
    assert counts["list"] == [{"type": "list", "count": 2}]
    assert {"nothing", "flag", "_step", "_runtime", "_timestamp"} <= counts.keys()
    assert not any(name.startswith("system.") for name in counts)
    last_row = expected(49)
    for name in ("loss", "epoch", "constant", "nested.a.c", "a.dot", "a/slash"):
        assert keys["keys"][name]["previousValue"] == last_row[name]
    monotonic = {name for name, each in keys["keys"].items() if each["monotonic"]}
    assert {"epoch", "constant", "nested.a.b", "_step", "_runtime"} <= monotonic
    assert not {"loss", "a/slash", "text"} & monotonic


def test_histories_are_thinned_evenly(up: Up) -> None:
    whole, thin, one, keyed, rare, axis = read(
        up,
        """
        show([run.history(pandas=False, samples=5000), run.history(pandas=False),
              run.history(pandas=False, samples=1),
              run.history(pandas=False, keys=["x"], samples=100),
              run.history(pandas=False, keys=["rare"], samples=499),
              run.history(pandas=False, keys=["x"], x_axis="_runtime", samples=10)])
        """,
        run="history/steps",
    )
    assert [each["_step"] for each in whole] == list(range(2500))
    for rows, count in ((thin, 500), (keyed, 100), (rare, 499), (one, 1)):
        assert len(rows) == count
        assert rows[0]["_step"] == whole[0 if rows is not rare else 4]["_step"]
    assert thin[-1]["_step"] == keyed[-1]["_step"] + 1 == 2499
    gaps = {b["_step"] - a["_step"] for a, b in itertools.pairwise(thin)}
    assert gaps <= {5, 6}
    assert gaps
    steps = [each["_step"] for each in keyed]
    assert len(set(steps)) == 100
    assert all(each["x"] == whole[each["_step"]]["x"] for each in keyed)
    assert {each["rare"] for each in rare} < {float(i) for i in range(1, 501)}
    assert len(axis) == 10
    assert all(set(each) == {"_runtime", "x"} for each in axis)


def test_system_metrics_are_a_history_of_their_own(up: Up) -> None:
    events, metrics = read(
        up, "show([run.history(stream='system', pandas=False), run.system_metrics])"
    )
    assert events
    assert "_step" not in events[0]
    names = set(events[-1]) - set(_ALWAYS)
    assert names
    assert all(name.startswith("system.") for name in names)
    assert {"_runtime", "_timestamp"} <= set(events[0])
    assert names <= metrics.keys()
    assert "system._runtime" not in metrics
    page = up.get("/v1/runs/local/history/values")
    assert page["last_step"] == 147
    assert not any(name.startswith("system.") for name in page["summary"])


def test_runs_without_lines_have_an_empty_history(up: Up) -> None:
    found = read(
        up,
        "show([run.history(pandas=False), list(run.scan_history()), run.history_keys,"
        " run.lastHistoryStep, run.history(pandas=False, keys=['x'])])",
        run="history/empty",
    )
    assert found == [[], [], None, -1, []]


def test_runs_of_the_own_client_are_read_alike(up: Up) -> None:
    rows, keyed, summary, keys = read(
        up,
        """
        show([list(run.scan_history()), run.history(keys=["loss"], pandas=False, x_axis="_runtime"),
              dict(run.summary_metrics), run.history_keys])
        """,
        run="history/native",
    )
    assert [each["_step"] for each in rows] == list(range(40))
    assert [each["epoch"] for each in rows] == list(range(40))
    assert rows[7]["loss"] != rows[7]["loss"]
    assert rows[20]["text"] == "there"
    assert all(0 <= each["_runtime"] < 600 and each["_timestamp"] > 1e9 for each in rows)
    assert len(keyed) == 40
    assert set(keyed[0]) == {"_runtime", "loss"}
    assert summary == {"loss": 1 / 40, "epoch": 39, "text": "there"}
    assert keys["lastStep"] == 39
    assert keys["keys"]["epoch"]["typeCounts"] == [{"type": "number", "count": 40}]


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_many_keys_and_steps(up: Up) -> None:
    run_wandb(
        up,
        """
import wandb
with wandb.init(project="history", id="wide") as run:
    for i in range(3000):
        run.log({f"k{j}": i * 1000 + j for j in range(200)})
""",
        timeout_s=120,
    ).check()
    found = read(
        up,
        """
        whole = list(run.scan_history())
        right = [i for i, each in enumerate(whole)
                 if each["_step"] == i and all(each[f"k{j}"] == i * 1000 + j for j in range(200))]
        keyed = list(run.scan_history(keys=["k7", "k199"], page_size=500))
        same = [[each["k7"], each["k199"]] for each in keyed]
        counts = {json.dumps(each["typeCounts"]) for name, each in run.history_keys["keys"].items()}
        thin = [each["_step"] for each in run.history(samples=300, pandas=False)]
        show([len(whole), len(right), same, sorted(counts), thin])
        """,
        run="history/wide",
    )
    whole, right, same, counts, thin = found
    assert whole == right == 3000
    assert same == [[i * 1000 + 7, i * 1000 + 199] for i in range(3000)]
    assert counts == ['[{"type": "number", "count": 3000}]']
    assert len(thin) == 300
    assert thin[0] == 0
    assert thin[-1] == 2999
