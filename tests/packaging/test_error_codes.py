"""Error codes are declared once: whatever is raised, counted, compared or documented is a member."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from penstock.command_codes import CommandCode
from penstock.error_codes import DATA, ErrorCode
from penstock.errors import Code
from penstock_common.process.metrics import AUTH_FAILURES, QUEUE_ERRORS, REJECTIONS, STORE_ERRORS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "errors.md"
CODES: list[Code] = [*ErrorCode, *CommandCode]
DECLARED_IN = [ROOT / f"client/penstock/{name}.py" for name in ("error_codes", "command_codes")]
ENUMS = {"ErrorCode", "CommandCode"}


@cache
def trees() -> dict[Path, ast.Module]:
    """Every module of the packages, but for the two that declare the codes."""
    paths = [
        path
        for folder in sorted(ROOT.glob("*/penstock*"))
        for path in folder.rglob("*.py")
        if path not in DECLARED_IN and "node_modules" not in path.parts
    ]
    return {path: ast.parse(path.read_text()) for path in paths}


def nodes() -> Iterator[tuple[str, ast.AST]]:
    """Every node with its place."""
    for path, tree in trees().items():
        name = str(path.relative_to(ROOT))
        for node in ast.walk(tree):
            yield f"{name}:{getattr(node, 'lineno', 0)}", node


def is_enum(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ENUMS


def has_text(node: ast.AST) -> bool:
    """Whether a code is written as text here, other than to look a member up."""
    if isinstance(node, ast.Subscript) and is_enum(node.value):
        return False
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    return any(has_text(child) for child in ast.iter_child_nodes(node))


def codes_raised(node: ast.AST) -> list[ast.expr]:
    """The code of an error that is created here."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return []
    is_error = node.func.id in ("Rejected", "Transient")
    return [each.value for each in node.keywords if is_error and each.arg == "code"]


def is_code(node: ast.expr) -> bool:
    """Whether this reads the code of an error."""
    is_attribute = isinstance(node, ast.Attribute) and node.attr == "code"
    return is_attribute and ast.unparse(node).startswith("error.")


def whens() -> dict[str, str]:
    """When each error arises: the line below the member."""
    found = {}
    for path in DECLARED_IN:
        for declared in ast.parse(path.read_text()).body:
            if not isinstance(declared, ast.ClassDef) or declared.name not in ENUMS:
                continue
            body = declared.body[1:]  # without the docstring
            for member, line in zip(body[::2], body[1::2], strict=True):
                assert isinstance(member, ast.Assign), ast.unparse(member)
                assert isinstance(line, ast.Expr), ast.unparse(line)
                assert isinstance(line.value, ast.Constant)
                found[ast.unparse(member.targets[0])] = str(line.value.value)
    return found


def table() -> list[str]:
    """What docs/errors.md says of every code, by subject."""
    lines: list[str] = []
    subject, when = "", whens()
    for code in CODES:
        has_status = isinstance(code, ErrorCode)
        if code.subject != subject:
            head = ["| code | status | when |", "|---|---|---|"]
            head = head if has_status else ["| code | when |", "|---|---|"]
            lines += ["", f"## {code.subject}", "", *head]
            subject = code.subject
        status = f" {code.status} |" if has_status else ""
        lines.append(f"| `{code}` |{status} {when[code.name]} |")
    return lines


def test_no_raise_site_writes_a_code_as_text() -> None:
    assert [place for place, node in nodes() for code in codes_raised(node) if has_text(code)] == []


def test_no_comparison_writes_a_code_as_text() -> None:
    compared = [
        (place, other)
        for place, node in nodes()
        if isinstance(node, ast.Compare) and is_code(node.left)
        for other in node.comparators
    ]
    assert compared
    assert [place for place, other in compared if has_text(other)] == []


def test_every_code_is_raised() -> None:
    used = {
        node.attr for _, node in nodes() if isinstance(node, ast.Attribute) and is_enum(node.value)
    }
    looked_up = {f"queue_{kind}" for kind in QUEUE_ERRORS} | {
        f"store_{kind}" for kind in {*STORE_ERRORS, "disk_failed"} - {"statement"}
    }
    assert [code for code in CODES if code.name not in used and code not in looked_up] == []
    assert looked_up <= set(ErrorCode)


def test_a_code_is_its_name_and_there_is_one_of_each() -> None:
    assert [code for code in CODES if code.name != code.upper()] == []
    assert len(set(CODES)) == len(CODES)


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_of_a_subject_and_a_failure(code: Code) -> None:
    assert code.subject
    assert 400 <= code.status < 600


def test_codes_of_a_subject_stand_together() -> None:
    subjects = [code.subject for code in CODES]
    changes = [one for one, before in zip(subjects, ["", *subjects], strict=False) if one != before]
    assert len(changes) == len(set(subjects))


def test_the_reasons_of_the_metrics_are_codes() -> None:
    folded = {"unauthorized", "queue_unavailable", "other"}
    assert set(REJECTIONS) - folded == {
        code for code in ErrorCode if code.subject == DATA or code is ErrorCode.FORBIDDEN
    }
    assert {ErrorCode.NO_KEY, ErrorCode.FORBIDDEN} < set(AUTH_FAILURES) - {"other"} < set(ErrorCode)


def test_the_manual_lists_every_code_and_nothing_else() -> None:
    page = PAGE.read_text()
    assert page.splitlines()[page[: page.index("\n## ")].count("\n") :] == table()


def test_other_pages_name_no_code_that_does_not_exist() -> None:
    """Codes are named with their status, such as 503 `parked`."""
    named = {
        (path.name, code)
        for path in ROOT.glob("docs/*.md")
        for code in re.findall(r"\b[45]\d\d `([a-z_0-9]+)`", path.read_text())
    }
    assert len(named) > 5
    assert [each for each in sorted(named) if each[1] not in set(CODES)] == []
