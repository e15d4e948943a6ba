"""No figure in README or in the head of a configuration but those of stored results.

A figure is a number with decimals, or one in per cent. In the rows of README's tables that begin
with the name of a result, and in the comments at the head of a configuration, only the figures of
that result may stand (and published ones); elsewhere in README those of any result.
"""

import re

import numpy as np
import pytest

from hqnn_jax.evaluation.metrics import compute_metrics
from tests.stored_figures import (
    RESULTS,
    ROOT,
    of_evaluation,
    of_paper,
    of_run,
    of_seeds_together,
    of_study,
    read,
    speed_rows,
    summaries,
)

READERS = {"runs": of_run, "papers": of_paper, "hardware": of_evaluation}
PUBLISHED = {
    "radhi2025": "96.58 % 96.90 % 97.20 %",
    "hqnn2026": "98.69 % 98.54 % 3.7 points",
    "aml2026": "98.4 % 92.0 % 86.4 % 83.0 %",
    "hqcnn2025": "99.12 % 98.84 % 97.83 % 99.91 % 99.00 % 100.00 % 99.916",
    "lean2025": "99.98 % 99.89 % 99.97 % 99.28 % 99.90 % 0.04 M 0.53 M 11.17 M 134.28 M",
}
"""What the papers print, see `tests/experiments/test_published_figures.py`."""
NO_RESULTS = {"95 %", "5 %", "1 %", "3 %", "10 %", "80 %"}
"""Levels of confidence and of noise, shares asked for."""
FIGURE = re.compile(r"[-+]?\d[\d,]*\.\d+(?: %| M\b| s\b| min\b| points)?|[-+]?\d[\d,]* %")
STUDIES = sorted(path.parent.name for path in RESULTS.glob("*/study.json"))
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


def _plain(text):
    """Return text with one kind of dash and blank, without markup and without line breaks."""
    text = re.sub(r"[`*]|^# ?", "", text, flags=re.MULTILINE)
    return " ".join(text.replace("−", "-").replace("–", "-").replace("\u202f", " ").split())


def _phrases(name):
    """Return what may be said of the results of this name, with the figures they have."""
    found = set()
    for kind, reader in READERS.items():
        folder = RESULTS / kind / name
        if folder.exists():
            found |= set(reader(folder))
    if name in STUDIES:
        found |= set(of_study(RESULTS / name)) | set(summaries(name))
    for paper, figures in PUBLISHED.items():
        if name.startswith(paper) or name == "bloodmnist_compact":
            found |= set(re.findall(FIGURE, figures))
    return {_plain(phrase) for phrase in found}


def _names():
    stored = {path.name for kind in READERS for path in (RESULTS / kind).glob("*")}
    return stored | set(STUDIES) | set(PUBLISHED)


def _left(text, phrases):
    """Return the figures in a text that belong to none of the phrases."""
    for phrase in sorted(phrases, key=len, reverse=True):
        # Not inside of a longer number.
        text = re.sub(rf"(?<![\d.]){re.escape(phrase)}(?![\d])", " ", text)
    return [figure for figure in FIGURE.findall(text) if figure.strip() not in NO_RESULTS]


def _head(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    count = next(k for k, line in enumerate(lines) if not line.startswith("#"))
    return _plain("\n".join(line for line in lines[:count] if "command:" not in line))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.relative_to(ROOT / "configs").as_posix())
def test_the_head_of_a_configuration_quotes_its_stored_result(path):
    assert _left(_head(path), _phrases(path.stem)) == []


def _readme():
    """Yield the name of a result, None where none is named, and the text it is quoted in."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    speed = set(speed_rows())
    lines = (line for line in text.splitlines() if line not in speed)
    text = "\n".join(line for line in lines if not line.startswith("    "))
    prose = []
    for line in text.splitlines():
        named = re.match(r"\| `(?:paper )?([\w./]+)`", line)
        if named and named[1] in _names():
            yield named[1], _plain(line)
        else:
            prose.append(line)
    yield None, _plain("\n".join(prose))


def test_readme_quotes_stored_results():
    versions = {"3.11", "3.13", "0.10", "0.11", "1.2", "1.5"}  # of Python, JAX, YAML, ResNet
    everything = {phrase for name in _names() for phrase in _phrases(name)} | set(
        of_seeds_together()
    )
    for name, text in _readme():
        left = _left(text, everything if name is None else _phrases(name))
        assert [figure for figure in left if figure not in versions] == [], name or "prose"


def test_a_figure_that_drifts_is_noticed():
    assert _left("accuracy 97.44 % (97.28 - 97.63)", {"97.43 % (97.28 - 97.63)"}) != []
    assert _left("accuracy 97.43 % (97.28 - 97.63)", {"97.43 % (97.28 - 97.63)"}) == []
    assert _left("197.43 %", {"97.43 %"}) != []


@pytest.mark.parametrize("name", sorted(p.name for p in (RESULTS / "runs").glob("*")))
def test_stored_runs_can_be_recomputed_from_their_predictions(name):
    folder = RESULTS / "runs" / name
    metrics = read(folder / "metrics.json")
    with np.load(folder / "predictions.npz", allow_pickle=False) as arrays:
        labels, predicted = arrays["test_labels"], arrays["test_predicted"]
    assert predicted.shape == (len(metrics["seeds"]), metrics["dataset"]["counts"]["test"])
    names = metrics["dataset"]["class_names"]
    for seed, classes in zip(metrics["seeds"], predicted, strict=True):
        again = compute_metrics(np.eye(len(names))[classes], labels.astype(int), names)
        for metric in ("accuracy", "macro_f1", "weighted_f1", "confusion_matrix"):
            assert again[metric] == seed["test"][metric]
        assert again["intervals"]["accuracy"] == seed["test"]["intervals"]["accuracy"]


def test_the_table_of_speed_is_that_of_the_stored_benchmarks():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    quoted = [line for line in lines if re.match(r"\| .* \| \d+ \| [\d.]+ ms \|", line)]
    assert len(quoted) == 12
    assert set(quoted) <= set(speed_rows())
