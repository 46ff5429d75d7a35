"""Values of TensorFlow: variables as they were, and tensors of every layout."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from support.logged_values import LoggedValues, check_histogram

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None, reason="needs the extra `frameworks`"
    ),
]


def test_values_of_tensorflow(tmp_path: Path) -> None:
    tf: Any = importlib.import_module("tensorflow")
    logged = LoggedValues(tmp_path)
    variable, scalar = tf.Variable(tf.ones(50)), tf.Variable(1.0)
    logged.writer.log({"variable": variable, "scalar": scalar})
    variable.assign(tf.fill([50], 7.0))
    scalar.assign(7.0)
    logged.writer.log(
        {
            "tensor": tf.ones(5),
            "half": tf.constant(1.5, tf.bfloat16),
            "text": tf.constant("a"),
            "ragged": tf.ragged.constant([[1.0, 2.0], [3.0]]),
            "sparse": tf.sparse.from_dense([[1.0, 0.0]]),
            "slices": tf.IndexedSlices(tf.ones((2, 3)), tf.constant([0, 1])),
        }
    )
    tf.function(lambda x: logged.writer.log({"symbolic": x}))(tf.ones(3))
    found = logged.values()
    assert (found["scalar"], found["half"], found["text"]) == (1.0, 1.5, "a")
    assert max(found["variable"]["bins"]) < 2
    for name, elements in {
        "variable": 50,
        "tensor": 5,
        "ragged": 3,
        "sparse": 2,
        "slices": 6,
    }.items():
        check_histogram(found[name], elements)
    notices = logged.notices()
    assert [*notices] == ["symbolic"]
    assert "outside tf.function" in notices["symbolic"]
    assert logged.writer.dropped_rows == 0
