"""docs/extending.md does what it says: every example, in a copy of the package as installed."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "extending.md").read_text()
INSIDE = ("experiments", "benchmarks", "configs")
"""Folders at the top of the repository that are installed inside `hqnn_jax`."""
MOST_FILES = {
    "Parts of your own": 2, "A circuit engine": 2, "A backbone": 2, "A middle": 2, "A metric": 2,
    "A dataset": 2, "A paper": 3, "An ablation axis": 1, "An option of a command": 2,
}  # fmt: skip


class Example(NamedTuple):
    """A section of the guide: what it writes, adds and changes, and what it then runs.

    Attributes:
        title: its heading.
        files: path -> content of each new file.
        entries: path, the name of a table or "at the end", and what is added there.
        changes: unified diffs.
        scripts: Python that must run afterwards.
    """

    title: str
    files: dict[str, str]
    entries: list[tuple[str, str, str]]
    changes: list[str]
    scripts: list[str]

    @classmethod
    def of(cls, title: str, text: str) -> "Example":
        """Read a section."""
        example = cls(title, {}, [], [], [])
        for kind, block in re.findall(r"```(python|yaml|diff)\n(.*?)```", text, re.S):
            first, _, rest = block.partition("\n")
            named = re.fullmatch(r"# (\S+\.(?:py|yaml))(?:: (\w+|at the end))?", first)
            if kind == "diff":
                example.changes.append(block)
            elif named is None:
                example.scripts.append(block)
            elif named[2] is None:
                example.files[named[1]] = rest
            else:
                example.entries.append((named[1], named[2], rest))
        return example

    def paths(self) -> set[str]:
        """Return the files that are new or changed."""
        changed = re.findall(r"^\+\+\+ b/(\S+)", "\n".join(self.changes), re.M)
        return {*self.files, *changed, *(path for path, _, _ in self.entries)}


SECTIONS = re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", GUIDE, re.S | re.M)
EXAMPLES = [Example.of(title, text) for title, text in SECTIONS]


def with_entry(source: str, name: str, entry: str) -> str:
    """Return a module's source with an entry at the end of the table assigned to a name."""
    if name == "at the end":
        return f"{source}\n\n{entry}"
    for node in ast.parse(source).body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        if isinstance(node, ast.Assign | ast.AnnAssign) and ast.unparse(targets[0]) == name:
            lines = source.splitlines(keepends=True)
            end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset - 1
            comma = "" if source[:end].rstrip().endswith(",") else ","
            return f"{source[:end].rstrip()}{comma}\n{entry}{source[end:]}"
    raise AssertionError(f"no table {name}")


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the package in which every example was followed."""
    folder = tmp_path_factory.mktemp("extended")
    package = folder / "hqnn_jax"
    skipped = shutil.ignore_patterns("results", "__pycache__")
    shutil.copytree(ROOT / "hqnn_jax", package, ignore=skipped)
    for name in INSIDE:
        shutil.copytree(ROOT / name, package / name, ignore=skipped)
    shutil.copy(ROOT / "experiment.py", folder)

    def place(path: str) -> Path:
        own = "/" not in path
        return folder / path if own or path.startswith("hqnn_jax/") else package / path

    for example in EXAMPLES:
        for path, text in example.files.items():
            assert not place(path).exists()
            place(path).write_text(text)
        for path, name, entry in example.entries:
            place(path).write_text(with_entry(place(path).read_text(), name, entry))
        for change in example.changes:
            subprocess.run(["git", "apply", "-"], cwd=folder, input=change, text=True, check=True)
    return folder


def test_nothing_new_takes_more_files_than_promised():
    taken = {example.title: len(example.paths()) for example in EXAMPLES}
    assert taken.keys() == MOST_FILES.keys()
    assert all(0 < number <= MOST_FILES[title] for title, number in taken.items()), taken


@pytest.mark.slow
def test_a_run_of_parts_of_your_own(extended):
    call = [sys.executable, "-m", "experiment", "run", "mine.yaml", "--out", "mine"]
    subprocess.run(call, check=True, cwd=extended, capture_output=True)
    test = json.loads((extended / "mine" / "metrics.json").read_text())["test"]
    low, high = test["intervals"]["my_parts:brier"]
    assert 0 < low <= test["my_parts:brier"] <= high < 2
    assert "my_parts:brier" in (extended / "mine" / "report.html").read_text()


def test_every_example_does_what_it_says(extended):
    assert all(example.scripts for example in EXAMPLES)
    program = "".join(
        f"print({example.title!r}, flush=True)\nexec({script!r}, {{}})\n"
        for example in EXAMPLES
        for script in example.scripts
    )
    # The copy is in the current folder, which comes first: it is imported, not the checkout.
    check = f"import hqnn_jax; assert hqnn_jax.__file__.startswith({str(extended)!r})\n"
    call = [sys.executable, "-c", check + program]
    done = subprocess.run(call, check=False, cwd=extended, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
