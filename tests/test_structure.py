"""docs/structure.md: no import goes up or in a circle; no file is long."""

import ast
import graphlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLAN = (ROOT / "docs" / "structure.md").read_text()
INSIDE = ("experiments", "benchmarks")
"""Folders at the top of the repository that are installed inside `hqnn_jax`."""
MAX_LINES = 400
MAX_FUNCTION_LINES = 50
"""Beside signature and docstring."""


def python_files(*folders: str) -> list[Path]:
    """Return the files of the repository's folders, and the command line."""
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [*found, ROOT / "experiment.py"]


def name_of(path: Path) -> str:
    """Return the name a file is imported by."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(part for part in parts if part != "__init__")
    return f"hqnn_jax.{name}" if parts[0] in INSIDE else name


MODULES = {name_of(path): path for path in python_files("hqnn_jax", *INSIDE)}


def module_of(name: str) -> str | None:
    """Return the module of the project that a dotted name lies in."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


def imports(module: str) -> set[str]:
    """Return the modules of the project that a module imports, anywhere in its text."""
    names: list[str] = []
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports by whole names only"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    found = {module_of(name) for name in names if name.split(".")[0] in {"hqnn_jax", "experiment"}}
    return {name for name in found if name not in (None, module)}


IMPORTS = {module: imports(module) for module in MODULES}


def floors() -> Iterator[tuple[int, str]]:
    """Yield number and room of each floor, from the ground up."""
    block = re.search(r"```text floors\n(.*?)```", PLAN, re.S)
    assert block is not None
    for number, line in enumerate(reversed(block[1].strip().splitlines())):
        yield from ((number, room) for room in line.split())


FLOOR = {f"hqnn_jax.{room}" if room != "experiment" else room: n for n, room in floors()}


def room_of(module: str) -> str:
    """Return the room on the plan that a module lies in: the innermost one."""
    room = module
    while room and room not in FLOOR:
        room = room.rpartition(".")[0]
    assert room, f"{module} is in no room of docs/structure.md"
    return room


def test_no_import_goes_in_a_circle():
    # Raises CycleError, which names the modules. The package itself imports on demand alone.
    graphlib.TopologicalSorter({**IMPORTS, "hqnn_jax": set()}).prepare()


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"hqnn_jax"}))
def test_no_import_goes_up_or_across_a_floor(module):
    own = room_of(module)
    for imported in IMPORTS[module] - {"hqnn_jax"}:
        room = room_of(imported)
        assert room == own or FLOOR[room] < FLOOR[own], f"{module} imports {imported}"


def test_the_plan_has_no_room_that_is_not_there():
    assert {room for room in FLOOR if room not in MODULES} == set()


def test_every_file_the_plan_names_is_there():
    named = re.findall(r"`([a-z0-9_/]+(?:/|\.py))`", PLAN)
    assert len(named) > 40
    below = [ROOT, ROOT / "hqnn_jax", *(ROOT / "hqnn_jax").iterdir()]
    assert [name for name in named if not any((folder / name).exists() for folder in below)] == []


@pytest.mark.parametrize("path", python_files("hqnn_jax", "tests", *INSIDE), ids=name_of)
def test_no_file_is_long_and_no_function_needs_scrolling(path):
    text = path.read_text()
    length = len(text.splitlines())
    assert length <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
            length = node.body[-1].end_lineno - first.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name}: {length} lines"


def test_no_two_classes_have_one_name():
    names = Counter(
        node.name.lstrip("_")
        for path in MODULES.values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []
