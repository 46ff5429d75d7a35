"""Stilted words in product text: `python tests/packaging/words.py` lists them, and fails if it finds any.

The words are in `words.txt` beside this file, the files in `CHECKED`; files and folders given as
arguments are checked instead. Checked are the prose of Markdown (no code), the strings and docstrings of
Python, and TypeScript without comments and imports.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CHECKED", "Found", "check", "checked_files", "passages", "stilted_words"]

ROOT = Path(__file__).parents[2]
WORDS = Path(__file__).with_name("words.txt")
CACHE = ROOT / ".words_cache"

CHECKED: tuple[str, ...] = (
    "*.md",
    "docs/*.md",
    "benchmarks/*.py",
    "loadtests/*.py",
    *(
        f"{folder}/penstock*/**/*.py"
        for folder in (
            "client",
            "common",
            "storage",
            "ingest",
            "sweeps",
            "workers",
            "web",
            "compat",
            "server",
        )
    ),
    "web/ui/src/**/*.ts*",
)
"""Files to check, as glob patterns below the root."""

_MARKDOWN_CODE = re.compile(r"^```.*?^```|^ {4,}.*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_TYPESCRIPT_REST = re.compile(r"/\*.*?\*/|(?<!:)//[^\n]*|^import\b[^;]*;", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Found:
    """A word, where it is, and what to write instead."""

    path: str
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: “{self.word}”: {self.instead}"


def stilted_words() -> list[tuple[re.Pattern[str], str]]:
    """The patterns of words.txt, each with its advice."""
    found = []
    for line in WORDS.read_text().splitlines():
        if line and not line.startswith("#"):
            pattern, instead = line.split(" -> ", 1)
            whole = re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE)
            found.append((whole, instead))
    return found


def passages(path: Path) -> Iterator[tuple[int, str]]:
    """The text in a file that people read, with the line where each passage starts."""
    text = path.read_text()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.lineno, node.value
    elif path.suffix in (".ts", ".tsx"):
        yield 1, _TYPESCRIPT_REST.sub(_blank, text)
    else:
        yield 1, _MARKDOWN_CODE.sub(_blank, text)


def _blank(match: re.Match[str]) -> str:
    """A placeholder with as many lines."""
    return "…" + "\n" * match[0].count("\n")


def check(paths: Iterable[Path]) -> list[Found]:
    """Every stilted word in these files."""
    words = stilted_words()
    # Of lower-case text, as ignoring case makes each search several times as slow.
    any_word = re.compile("|".join(pattern.pattern for pattern, _ in words).lower())
    found = []
    for path in paths:
        name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
        for first, passage in passages(path):
            # A phrase may go over the end of a line; lengths stay, for the number of the line.
            flat = re.sub(r"\n[ \t#*/]*", lambda gap: " ".ljust(len(gap[0])), passage)
            flat = re.sub(r"\s", " ", flat)
            if not any_word.search(flat.lower()):  # nearly always
                continue
            for pattern, instead in words:
                for match in pattern.finditer(flat):
                    line = first + passage.count("\n", 0, match.start())
                    found.append(Found(name, line, " ".join(match[0].split()), instead))
    return sorted(found, key=lambda each: (each.path, each.line))


def checked_files() -> list[Path]:
    """The files that `CHECKED` names."""
    return sorted({path for pattern in CHECKED for path in ROOT.glob(pattern)})


def _files_in(place: Path) -> list[Path]:
    kinds = ("*.md", "*.py", "*.ts", "*.tsx")
    return (
        sorted(path for kind in kinds for path in place.rglob(kind)) if place.is_dir() else [place]
    )


def _check_changed(paths: list[Path]) -> list[Found]:
    """`check`, but for files that have not changed since they had no such word."""
    rules = "".join(_stamp(path) for path in (WORDS, Path(__file__)))
    stamps = {str(path): rules + _stamp(path) for path in paths}
    try:
        clean: dict[str, str] = json.loads(CACHE.read_text())
    except (OSError, ValueError):
        clean = {}
    found = check(path for path in paths if clean.get(str(path)) != stamps[str(path)])
    for each in found:
        stamps.pop(str(ROOT / each.path), None)
    CACHE.write_text(json.dumps(stamps))
    return found


def _stamp(path: Path) -> str:
    return f"{path.stat().st_mtime_ns}:{path.stat().st_size} "


def main(places: list[str]) -> int:
    given = [path for place in places for path in _files_in(Path(place).resolve())]
    found = check(given) if places else _check_changed(checked_files())
    for each in found:
        sys.stderr.write(f"{each}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
