"""The check for the words in words.txt finds them where people read them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _load() -> ModuleType:
    """The script beside this file, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("words", Path(__file__).with_name("words.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["words"] = module
    spec.loader.exec_module(module)
    return module


words = _load()


def test_product_text_is_checked() -> None:
    """`make lint` does it."""
    assert len(words.checked_files()) > 10


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("a.md", "Fine.\n\nWritten\nanew by `whoever` it was.\n\n```\nanew\n```\n", [4]),
        ("a.md", "A phrase over the end of a\ntraining is found; the training run is fine.\n", [1]),
        ("a.md", "What is sent? Once more. What is sent again has a number.\n", [1]),
        ("a.py", '"""Said\n\nanew."""\nanew = f"whoever asks {1}"  # amid\n', [3, 4]),
        ("a.tsx", "// anew\nconst text = <p>Sounds and films</p>; /* amid */\n", [2, 2]),
    ],
)
def test_the_check_itself(tmp_path: Path, name: str, text: str, lines: list[int]) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert [each.line for each in words.check([path])] == lines
