"""What commands compute and write: predictions, histories, cells and the text of reports."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from tests.pinned import internal
from tests.pinned.store import FOLDER, Values

_RUN = """
dataset:
  name: synthetic_cells
  resolution: 16
  synthetic: {train_images: 32, validation_images: 16, test_images: 24}
model:
  backbone: {name: lean_cnn, image_size: 8}
  processor: {widths: [6], dropout: 0.2}
  circuit: {name: radhi2025, num_qubits: 3, num_layers: 4}
  feature_scaling: standardised_tanh
  classifier: {widths: [8], dropout: 0.1}
training:
  epochs: 2
  batch_size: 16
  average_decay: 0.9
  clip_norm: 1.0
  learning_rate: {classical: 2e-2, circuit: 2e-1}
  schedule: {name: cosine, warmup_epochs: 1}
  augmentation: {horizontal_flip: true, quarter_turns: true, rotation_degrees: 20.0, hue: 0.1}
evaluation: {bootstrap_samples: 100, explained_images: 0}
seeds: 2
"""
_ABLATION = "ablation: {axes: {middle: [quantum, matched], noise: [0, 0.05]}}\n"
_OTHER_SETTINGS = {
    "insights": (
        "training.insights=[gradients,entangling_capability,expressibility,effective_dimension,"
        "fourier_spectrum]",
        "training.contrastive_weight=0.1",
        "training.label_noise=0.1",
        "training.images_per_class=4",
        "model.feature_scaling=tanh",
        "evaluation.test_time_augmentation=dihedral",
        "seeds=1",
    ),
    "shots and noise": (
        "evaluation.shots=64",
        "evaluation.noise={one_qubit: 0.01, two_qubit: 0.02, readout: 0.03}",
        "model.backbone.frozen=true",
        "training.augmentation={}",
        "seeds=1",
    ),
}
_TIMES = ("seconds", "train_s", "compile_s", "epoch_s")
_TIME = r"\d[\d,.]* ?(?:µs|ms|s|min|h|seconds|minutes)\b"
_ENVIRONMENT = (
    "hqnn_jax|git_commit|python|platform|processor|cpu_count|usable_cores|core_limit|xla_flags|"
    "device(?:_platform|_count)?|versions|jax|jaxlib|flax|optax|orbax-checkpoint|pennylane|numpy|"
    "scipy|scikit-learn|tensorflow-datasets|medmnist|qiskit[a-z-]*"
)
# What a report says of the process that wrote it.
_MASKS = (
    (rf"(?m)^((?:\| )?(?:{_ENVIRONMENT})(?:: | \| )).*$", r"\1…"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "JOB"),
    (rf"{_TIME}(?: {_TIME})*", "TIME"),
    (r"\b[0-9a-f]{40}(\+dirty)?\b", "COMMIT"),
    (r"\b20\d\d-\d\d-\d\d\b( \d\d:\d\d(:\d\d)?)?", "DATE"),
)


def unpack(name: str, folder: Path) -> None:
    """Unpack what was written before into a folder; see `before/README.md`."""
    shutil.unpack_archive(FOLDER / "before" / f"{name}.tar.xz", folder, filter="data")


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Work in a folder, with its own cache in `cache`."""
    changed = {"HQNN_CACHE_DIR": str(folder / "cache"), "HQNN_DATA_DIR": None}
    before = {name: os.environ.get(name) for name in changed}
    with contextlib.chdir(folder):
        try:
            _set(changed)
            yield
        finally:
            _set(before)


def _set(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


def command(*arguments: Any) -> str:
    """Run a command that succeeds; return what it printed and told."""
    result = CliRunner().invoke(internal.app, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def run(folder: Path) -> Values:
    """A run of two seeds, end to end: its predictions, history and metrics."""
    return _run(folder)


def other_runs(folder: Path) -> Values:
    """Runs whose settings draw from further random streams."""
    found = {}
    for name, overrides in _OTHER_SETTINGS.items():
        found |= {f"{name}, {key}": v for key, v in _run(folder / name, *overrides).items()}
    return found


def _run(folder: Path, *overrides: str) -> Values:
    folder.mkdir(exist_ok=True)
    (folder / "run.yaml").write_text(_RUN, encoding="utf-8")
    with working_in(folder):
        command("run", "run.yaml", *overrides, "--out", "out")
    out = folder / "out"
    metadata = json.loads(next(out.glob("checkpoints/seed_0/*/state/_METADATA")).read_text())
    found = {
        "config": (out / "config.yaml").read_text(),
        "checkpoint": "\n".join(sorted(metadata["tree_metadata"])),
        **_predictions(out / "predictions.npz"),
        **_history((out / "history.jsonl").read_text()),
    }
    metrics = json.loads((out / "metrics.json").read_text())
    return {**found, "test metrics": _numbers(metrics["test"])}


def _predictions(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        # Images are many, and are those of the dataset.
        return {name: file[name] for name in sorted(file) if name != "sample_images"}


def _history(text: str) -> dict[str, np.ndarray]:
    records = [json.loads(line) for line in text.splitlines()]
    columns: dict[str, list[Any]] = {}
    for record in records:
        for name, value in record.items():
            if name not in _TIMES:
                columns.setdefault(name, []).append(value)
    return {f"history {name}": _numbers(values) for name, values in columns.items()}


def _numbers(content: Any) -> np.ndarray:
    """Return all numbers in JSON data, in order."""
    if isinstance(content, dict):
        parts = [_numbers(value) for name, value in content.items() if name not in _TIMES]
    elif isinstance(content, list):
        parts = [_numbers(value) for value in content]
    else:
        number = isinstance(content, int | float)
        return np.array([float(content)] if number else [])
    return np.concatenate(parts) if parts else np.array([])


def ablation(folder: Path) -> Values:
    """An ablation with all seeds in one program: what its cells hold."""
    (folder / "study.yaml").write_text(_RUN + _ABLATION, encoding="utf-8")
    with working_in(folder):
        command("ablate", "study.yaml", "seeds=3", "--together", "3", "--out", "study")
    found: dict[str, Any] = {}
    for path in sorted((folder / "study" / "cells").glob("*.npz")):
        with np.load(path) as file:
            record = json.loads(str(file["record"]))
            found[f"{path.stem} probabilities"] = file["probabilities"]
        found[f"{path.stem} history"] = _numbers(record["history"])
        found[f"{path.stem} metrics"] = _numbers([record["validation"], record["test"]])
    return found


def features(folder: Path) -> Values:
    """Features of a frozen backbone: names of the cache's files, and values."""
    for name in ("finished", "unfinished"):
        unpack(name, folder)
    with working_in(folder):
        command("run", "unfinished/config.yaml", "training.epochs=1", "seeds=1", "--out", "out")
    files = sorted((folder / "cache" / "features").iterdir())
    found: dict[str, Any] = {"files": "\n".join(path.name for path in files)}
    return {**found, **{path.stem[:8]: np.load(path)[:4] for path in files}}


def reports(folder: Path) -> Values:
    """Reports of stored results: a run, two runs, and an ablation."""
    for name in ("pair", "study"):
        unpack(name, folder)
    manifest = folder / "study" / "ablation.json"
    with working_in(folder):
        of_this_version(manifest)
        command("report", "quantum")
        command("report", "quantum", "matched")
        command("ablate", "study.yaml", "--out", "study")
    pages = {
        "run": "quantum/report.html",
        "comparison": "comparison.html",
        "ablation": "study/report.html",
    }
    found = {name: text_of(folder / page) for name, page in pages.items()}
    tables = ("arms.csv", "arms.tex", "comparisons.csv", "comparisons.tex")
    return {**found, **{name: masked((folder / "study" / name).read_text()) for name in tables}}


def of_this_version(manifest: Path) -> None:
    """Let an ablation be one of this version: cells of another are refused, on purpose."""
    import hqnn_jax

    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "hqnn_jax": hqnn_jax.__version__}))


def hardware(folder: Path) -> Values:
    """The report of a trained circuit on a simulator."""
    unpack("finished", folder)
    with working_in(folder):
        command(
            "hardware", "finished", "backend=aer", "shots=256", "images.count=12",
            "interval_samples=100", "mitigation=[readout]", "--out", "out",
        )  # fmt: skip
    return {"hardware": text_of(folder / "out" / "report.html")}


def papers(folder: Path) -> Values:
    """The small variants of two papers: one of runs, one with a table of its own."""
    found = {}
    with working_in(folder):
        for name in ("hqcnn2025", "aml2026"):
            command("paper", name, "--small", "--out", name)
            found[name] = text_of(folder / name / "report.html")
    return found


class _Text(HTMLParser):
    """The text of a page: a line for each block, cells of a row beside each other."""

    _BLOCKS = frozenset(
        (
            "p", "h1", "h2", "h3", "h4", "tr", "div", "section", "figure", "figcaption", "li",
            "table", "pre", "header", "details", "summary",
        )
    )  # fmt: skip

    def __init__(self, page: str):
        super().__init__()
        self._parts: list[str] = []
        self._hidden = self._as_written = 0
        self.feed(page)
        lines = (" ".join(line.split()) for line in "".join(self._parts).splitlines())
        self.text = "\n".join(line for line in lines if line)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("style", "script")
        self._as_written += tag == "pre"
        if tag in self._BLOCKS:
            self._parts.append("\n")
        if tag in ("td", "th"):
            self._parts.append(" | ")
        if tag == "img":
            self._parts.append(f"[{dict(attrs).get('alt') or 'picture'}]")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("style", "script")
        self._as_written -= tag == "pre"
        if tag in self._BLOCKS:
            self._parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            # How a template is broken into lines is nothing a reader sees.
            self._parts.append(data if self._as_written else data.replace("\n", " "))


def text_of(page: Path) -> str:
    """Return what a page says, apart from what it says of the process that wrote it."""
    return masked(_Text(page.read_text(encoding="utf-8")).text)


def masked(text: str) -> str:
    """Return text without times, commits and dates."""
    for pattern, name in _MASKS:
        text = re.sub(pattern, name, text)
    return text
