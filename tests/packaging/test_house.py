"""The house's rules, read off the sources: who may import whom, and how large a room may be."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What every package may use of the client's.
SHARED = {
    "penstock.wire", "penstock.command_codes", "penstock.error_codes", "penstock.errors", "penstock.failpoints",
    "penstock.ids",
}  # fmt: skip
# package -> (its folder, the packages it may import; dotted names allow one module only)
ARROWS: dict[str, tuple[str, set[str]]] = {
    "penstock": ("client", set()),
    "penstock_common": ("common", SHARED),
    "penstock_storage": ("storage", {*SHARED, "penstock_common"}),
    "penstock_ingest": ("ingest", {*SHARED, "penstock_common", "penstock_storage.contracts"}),
    "penstock_sweeps": ("sweeps", {*SHARED, "penstock_common", "penstock_storage.contracts"}),
    "penstock_workers": ("workers", {*SHARED, "penstock_common", "penstock_storage"}),
    "penstock_web": ("web", {*SHARED, "penstock_common", "penstock_storage"}),
    "penstock_compat": (
        "compat",
        {
            *SHARED, "penstock.names", "penstock_common", "penstock_storage", "penstock_ingest",
            "penstock_sweeps", "penstock_web.names",
        },
    ),
    "penstock_server": (
        "server",
        {
            "penstock", "penstock_common", "penstock_storage", "penstock_ingest",
            "penstock_workers", "penstock_web", "penstock_compat", "penstock_sweeps",
        },
    ),
}  # fmt: skip
# What `pip install penstock` brings.
CLIENT_DEPENDENCIES = {"msgpack", "backports", "compression", "numpy", "psutil"}
# The one module of its package that only servers import.
DECOMPRESSION = "penstock.wire.decompression"
# Optional at run time, imported only where it is used.
CLIENT_OPTIONAL = {"IPython", "pandas", "torch", "yaml"}
MOST_LINES = 400


def modules(package: str) -> list[Path]:
    return sorted((ROOT / ARROWS[package][0] / package).rglob("*.py"))


@cache
def imports(path: Path) -> set[str]:
    """Every module that a file imports, absolutely or relatively, at its top or inside."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_allowed(imported: str, allowed: set[str]) -> bool:
    return any(imported == name or imported.startswith(f"{name}.") for name in allowed)


@pytest.mark.parametrize("package", ARROWS)
def test_no_arrow_that_the_table_forbids(package: str) -> None:
    allowed = ARROWS[package][1] | {package}
    wrong = [
        f"{path.relative_to(ROOT)} imports {imported}"
        for path in modules(package)
        for imported in sorted(imports(path))
        if imported.split(".")[0] in ARROWS and not is_allowed(imported, allowed)
    ]
    assert modules(package)
    assert not wrong


def _room(package: str, module: str) -> str:
    """What a module counts as: its folder, or itself where its folder has folders of its own."""
    base = ROOT / ARROWS[package][0]
    path = base / module.replace(".", "/")
    folder = path if path.is_dir() else path.parent
    has_folders = any(each.is_dir() and any(each.glob("*.py")) for each in folder.iterdir())
    return module if has_folders else str(folder.relative_to(base)).replace("/", ".")


def _arrows_between_rooms(package: str) -> dict[str, set[str]]:
    base = ROOT / ARROWS[package][0]
    names = {
        ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")
        for path in modules(package)
    }
    found: dict[str, set[str]] = {}
    for path in modules(package):
        module = ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")
        for imported in imports(path):
            target = imported if imported in names else imported.rpartition(".")[0]
            if target in names - {package, module}:
                here, there = _room(package, module), _room(package, target)
                if here != there and module != package:
                    found.setdefault(here, set()).add(there)
    return found


@pytest.mark.parametrize("package", ARROWS)
def test_no_two_folders_import_each_other(package: str) -> None:
    """Neither directly nor through others: folders show the layers."""
    arrows = _arrows_between_rooms(package)
    try:
        order = list(graphlib.TopologicalSorter(arrows).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"a cycle: {' → '.join(error.args[1])}")
    assert not arrows or order


def test_the_client_needs_only_what_it_installs() -> None:
    known = CLIENT_DEPENDENCIES | CLIENT_OPTIONAL | {"penstock"} | set(sys.stdlib_module_names)
    wrong = [
        f"{path.relative_to(ROOT)} imports {imported}"
        for path in modules("penstock")
        for imported in sorted(imports(path))
        if imported.split(".")[0] not in known
        and not (imported == "zstandard" and path.stem == DECOMPRESSION.split(".")[-1])
    ]
    assert not wrong
    code = "import sys, penstock.shipper.daemon, penstock.wire; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert not {DECOMPRESSION, "zstandard"} & set(loaded)


def test_the_gateway_does_without_numpy() -> None:
    for path in modules("penstock_ingest"):
        assert not any(name.split(".")[0] == "numpy" for name in imports(path)), path


@pytest.mark.parametrize("package", ARROWS)
def test_rooms_stay_small(package: str) -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in modules(package)}
    assert not {str(path): count for path, count in lengths.items() if count > MOST_LINES}


@pytest.mark.parametrize("package", ARROWS)
def test_every_module_says_what_it_is(package: str) -> None:
    for path in modules(package):
        assert ast.get_docstring(ast.parse(path.read_text())), path


def _assigned(node: ast.AST) -> list[ast.expr]:
    """What a statement assigns to, or deletes."""
    if isinstance(node, ast.Assign | ast.Delete):
        return list(node.targets)
    return [node.target] if isinstance(node, ast.AugAssign | ast.AnnAssign) else []


@pytest.mark.parametrize("path", modules("penstock_workers"), ids=lambda path: path.stem)
def test_no_part_of_a_worker_assigns_into_another(path: Path) -> None:
    """Each state machine changes by its own methods only, so that its invariants lie in one file."""
    wrong = []
    for node in ast.walk(ast.parse(path.read_text())):
        for target in _assigned(node):
            changed = target.value if isinstance(target, ast.Subscript) else target
            owner = changed.value if isinstance(changed, ast.Attribute) else None
            is_part = isinstance(owner, ast.Attribute) and isinstance(owner.value, ast.Name)
            is_known = isinstance(owner, ast.Name) and owner.id == "known"
            if is_part or is_known:
                wrong.append(f"{path.relative_to(ROOT)}:{target.lineno} {ast.unparse(target)}")
    assert not wrong


_BODY = re.compile(r"request\.(?:(?:read|json|text|post|multipart)\(|content\b)")
_ROUTE = re.compile(r"\.add_(?:route|resource|get|head|post|put|patch|delete|options)\(")


@pytest.mark.parametrize("package", sorted(ARROWS.keys() - {"penstock_storage"}))
def test_bodies_are_read_and_routes_added_in_one_place(package: str) -> None:
    """Elsewhere a body would have no deadline and no budget, and a name no path."""
    for path in modules(package):
        text = path.read_text()
        assert path.name == "bodies.py" or not _BODY.search(text), path
        assert path.name == "routes.py" or not _ROUTE.search(text), path


# Other uses of chance: jitter of pauses, and the search of sweeps.
CHANCE = {
    "penstock/sweeps/agents.py", "penstock/shipper/circuit_breaker.py",
    "penstock_common/http/errors.py", "penstock_sweeps/space.py",
}  # fmt: skip


def test_ids_are_made_in_one_place() -> None:
    """Of what each kind consists, and how hard it is to guess, could not be read anywhere else."""
    sources = {"secrets", "uuid", "random"}
    found = {
        str(path.relative_to(ROOT / ARROWS[package][0]))
        for package in ARROWS
        for path in modules(package)
        if sources & {name.split(".")[0] for name in imports(path)}
        or "urandom(" in path.read_text()
    }
    assert found == CHANCE | {"penstock/ids.py"}


# Statements of ClickHouse and of SQLite, in capitals as they are written here.
_SQL = re.compile(
    r"\b(?:SELECT|INSERT INTO|ALTER TABLE|DELETE FROM|CREATE TABLE|DROP TABLE|PREWHERE|ORDER BY|GROUP BY)\s"
    r"|\bFROM (?:penstock|system)\."
)


def texts(path: Path) -> list[str]:
    """Every string in a file that is no docstring; of an f-string, its constant parts."""
    tree = ast.parse(path.read_text())
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
    ]


def test_statements_of_the_stores_are_written_in_storage_only() -> None:
    """Elsewhere a table's columns could not be found beside its statements, nor changed with them."""
    found = {
        str(path.relative_to(ROOT / ARROWS[package][0]))
        for package in sorted(ARROWS.keys() - {"penstock_storage"})
        for path in modules(package)
        if any(_SQL.search(text) for text in texts(path))
    }
    assert not found
    storage = modules("penstock_storage")
    assert sum(any(_SQL.search(text) for text in texts(path)) for path in storage) > 20


def test_nothing_in_the_repository_names_a_download_address() -> None:
    lock = (ROOT / "web" / "ui" / "package-lock.json").read_text()
    assert '"resolved": "http' not in lock
    assert "://" not in (ROOT / "constraints.txt").read_text()


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", "-z", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [Path(name) for name in listed.stdout.split("\0") if name]


def test_no_two_modules_differ_in_case_or_extension_only() -> None:
    """`./sections` would mean either of two on a disk that does not tell cases apart."""
    modules = tracked("*.py", "*.ts", "*.tsx", "*.css")
    stems = Counter(str(path.with_suffix("")).lower() for path in modules)
    assert not [stem for stem, count in stems.items() if count > 1]


def test_no_two_files_or_folders_differ_in_case_only() -> None:
    """Extensions aside. Such a pair could not be checked out on a disk that ignores case."""
    spellings: dict[str, set[str]] = {}
    for path in tracked():
        for each in (path.with_suffix(""), *path.parents):
            spellings.setdefault(str(each).lower(), set()).add(str(each))
    assert not [sorted(names) for names in spellings.values() if len(names) > 1]
