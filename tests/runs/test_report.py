"""The report of a run and the comparison of several."""

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

from hqnn_jax.config import MIDDLE_NAMES, ModelConfig
from hqnn_jax.errors import ConfigurationError, RunFolderError
from hqnn_jax.evaluation.published import Published, PublishedTask
from hqnn_jax.runs.described import brief_model
from hqnn_jax.runs.report import write_report
from hqnn_jax.runs.side_by_side import compare_runs

PUBLISHED = Published(
    title="A paper <about> cells",
    reference="Someone et al., 2025",
    task=PublishedTask("drawn cells", "synthetic_cells", images={"test": 55, "validation": 40}),
    figures={"test": {"accuracy": 0.5, "roc_auc": 0.25}, "validation": {"macro_f1": 0.75}},
    per_class={1: {"f1": 0.4}},
    per_class_split="validation",
    train_minutes=1386.0,
    other_accuracies={"Another system": 0.125},
    quoted_accuracies={"One on other cells": 0.875},
    notes=("The supports add to the validation split.",),
)


class _Page(HTMLParser):
    """Collects visible text, attributes and the cells of every table row."""

    def __init__(self, html):
        super().__init__()
        self.text, self.tags, self.attributes, self.rows = [], [], [], []
        self._hidden = self._in_cell = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self._hidden = tag == "style"
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        self._hidden = False
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        if self._hidden:
            return
        self.text.append(data)
        if self._in_cell:
            self.rows[-1][-1] += data.strip()

    def values(self, tag, name):
        return [value for t, n, value in self.attributes if (t, n) == (tag, name)]

    def row(self, *cells):
        return next(row for row in self.rows if row[: len(cells)] == list(cells))


def _page(path):
    return _Page(path.read_text(encoding="utf-8"))


def _percent(value):
    return f"{100 * value:.2f}"


def _circuit():
    figure = Figure()
    figure.subplots().plot([0, 1])
    return figure


def test_the_report_has_every_figure_and_loads_nothing(make_run):
    run = make_run()
    path = write_report(run, circuit_figure=_circuit())
    assert path == run / "report.html"
    assert [file.name for file in run.iterdir() if file.name.startswith(".")] == []
    page = _page(path)
    images = page.values("img", "src")
    assert page.values("img", "alt") == [
        "Training curves",
        "Confusion matrix",
        "Per-class metrics",
        "ROC curves",
        "Reliability diagram",
        "Sample predictions",
        "Circuit",
    ]
    assert sum(uri.startswith("data:image/svg+xml;base64,") for uri in images) == 6
    assert sum(uri.startswith("data:image/png;base64,") for uri in images) == 1
    assert not {"script", "iframe", "object", "embed"} & set(page.tags)
    loaded = [v for _, n, v in page.attributes if n in ("src", "href", "srcset", "data")]
    assert all(value.startswith("data:") for value in loaded)
    html = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|url\(", html)


def test_every_interval_says_how_it_is_made_and_the_auc_its_classes(make_run):
    run = make_run()
    page = _page(write_report(run))
    head = next(row for row in page.rows if row[:2] == ["Split", "Images"])
    assert head[2:6] == ["AccuracyWilson", "Macro F1bootstrap", "Weighted F1bootstrap",
                         "Cohen’s kappabootstrap"]  # fmt: skip
    assert next(row for row in page.rows if row[:2] == ["Class", "Images"])[2:5] == [
        "PrecisionWilson",
        "RecallWilson",
        "F1bootstrap",
    ]
    assert "test 3 of 3" in " ".join("".join(page.text).split())

    # A run that was evaluated before had bootstrap intervals everywhere.
    metrics = json.loads((run / "metrics.json").read_text())
    for split in ("train", "validation", "test"):
        del metrics[split]["interval_methods"], metrics[split]["roc_auc_classes"]
    (run / "metrics.json").write_text(json.dumps(metrics))
    page = _page(write_report(run))
    head = next(row for row in page.rows if row[:2] == ["Split", "Images"])
    assert head[2] == "Accuracybootstrap"


def test_headlines_are_mean_deviation_and_interval(make_run):
    run = make_run()
    test = json.loads((run / "metrics.json").read_text())["test"]
    text = " ".join(" ".join(_page(write_report(run)).text).split())
    lower, upper = test["intervals"]["accuracy"]
    deviation = test["standard_deviation"]["accuracy"]
    expected = (
        f"Accuracy {_percent(test['accuracy'])} % ± {_percent(deviation)} "
        f"{_percent(lower)}–{_percent(upper)}"
    )
    assert expected in text
    assert "over seeds 3, 4" in text


def test_one_seed_shows_no_deviation(make_run):
    page = _page(write_report(make_run(num_seeds=1)))
    assert "±" not in "".join(page.text)
    assert "Test split, seed by seed" not in "".join(page.text)
    assert "Circuit" not in page.values("img", "alt")


def test_names_are_escaped(make_run):
    path = write_report(make_run(), published=PUBLISHED)
    page = _page(path)
    text = "".join(page.text)
    assert not {"script", "i", "b", "about"} & set(page.tags)
    for name in (
        "a run & <i>more",
        "<b>baso & phil</b>",
        "<script>alert(1)</script>",
        "<about>",
    ):
        assert name in text


def test_the_banner_shows_for_synthetic_data_only(make_run):
    banner = "Synthetic data."
    assert banner in _page(write_report(make_run("drawn"))).text
    real = write_report(make_run("real", synthetic=False))
    assert banner not in _page(real).text


def test_published_figures_stand_beside_ours_with_the_difference(make_run):
    run = make_run()
    metrics = json.loads((run / "metrics.json").read_text())
    page = _page(write_report(run, published=PUBLISHED))

    def check(cells, ours, bounds, published):
        difference = f"{100 * (ours - published):+.2f}".replace("-", "−")
        inside = "yes" if bounds[0] <= published <= bounds[1] else "no"
        shown = f"{_percent(bounds[0])}–{_percent(bounds[1])}"
        rest = [_percent(published), _percent(ours), shown, difference, inside]
        assert page.row(*cells, _percent(published)) == [*cells, *rest]

    test, validation = metrics["test"], metrics["validation"]
    check(["test", "Accuracy"], test["accuracy"], test["intervals"]["accuracy"], 0.5)
    check(["test", "ROC-AUC"], test["roc_auc"], test["intervals"]["roc_auc"], 0.25)
    bounds = validation["intervals"]["macro_f1"]
    check(["validation", "Macro F1"], validation["macro_f1"], bounds, 0.75)
    ours = validation["per_class"][1]
    check([ours["class"], "F1"], ours["f1"], ours["intervals"]["f1"], 0.4)
    difference = f"{100 * (test['accuracy'] - 0.125):+.2f}".replace("-", "−")
    assert page.row("Another system")[1:] == ["12.50", difference]
    assert page.row("One on other cells")[1:] == ["87.50", "—"]
    text = " ".join(" ".join(page.text).split())
    assert "published 23 h 06 min, ours 1 h 23 min" in text
    assert PUBLISHED.notes[0] in text


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (
            PublishedTask("cells", "synthetic_cells"),
            "the images of the published split are not known",
        ),
        (PublishedTask("cells", "bloodmnist", images={"test": 55}), "other images"),
        (
            PublishedTask("cells", "synthetic_cells", images={"test": 56}),
            "55 images here, 56 there",
        ),
    ],
)
def test_published_figures_of_other_data_stand_without_a_difference(make_run, task, reason):
    published = dataclasses.replace(PUBLISHED, task=task, per_class={}, per_class_split=None)
    page = _page(write_report(make_run(), published=published))
    row = page.row("test", "Accuracy", "50.00")
    assert row[2] == "50.00"
    assert row[5:] == ["—", "—"]
    assert page.row("Another system")[1:] == ["12.50", "—"]
    assert f"No difference on the test split: {reason}." in " ".join(" ".join(page.text).split())


def test_without_published_figures_the_section_is_left_out(make_run):
    assert "Published figures beside ours" not in _page(write_report(make_run())).text


def test_tables_show_the_run(make_run):
    run = make_run()
    metrics = json.loads((run / "metrics.json").read_text())
    page = _page(write_report(run))
    assert page.row("train")[1] == "90"
    assert page.row("validation")[2].startswith(_percent(metrics["validation"]["accuracy"]))
    entry = metrics["test"]["per_class"][2]
    row = page.row(entry["class"])
    assert row[1] == str(entry["support"])
    assert row[2].startswith(_percent(entry["precision"]))
    assert row[5] == _percent(entry["accuracy"])
    assert page.row("backbone parameters")[1] == "4,007,548"
    assert page.row("Training")[1] == "1 h 23 min"
    assert page.row("Images")[1] == "train: 90, validation: 40, test: 55"
    text = " ".join("".join(page.text).split())
    shared = "Byte-identical images across splits: 5 of test also in train (1 with another label)."
    assert shared in text
    assert page.row("device")[1] == "platform: cpu, count: 1"
    assert (run / "config.yaml").read_text() in "".join(page.text)


def test_equal_runs_give_equal_reports(make_run):
    run = make_run()
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


@pytest.mark.parametrize(
    "name",
    ["metrics.json", "config.yaml", "history.jsonl", "predictions.npz", "environment.json"],
)
def test_a_missing_file_is_named(make_run, name):
    run = make_run()
    (run / name).unlink()
    with pytest.raises(RunFolderError, match=f"{re.escape(name)}: missing"):
        write_report(run)


@pytest.mark.parametrize("name", ["metrics.json", "predictions.npz", "history.jsonl"])
def test_a_truncated_file_is_named(make_run, name):
    run = make_run()
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(RunFolderError, match=f"{re.escape(name)}: cannot be read") as raised:
        write_report(run)
    assert "\n" not in str(raised.value)
    assert not (run / "report.html").exists()


def _edit(run, change):
    metrics = json.loads((run / "metrics.json").read_text())
    change(metrics)
    (run / "metrics.json").write_text(json.dumps(metrics))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(status="running"), "not finished"),
        (lambda m: m.pop("time"), "lacks time"),
        (lambda m: m["test"].pop("roc_auc"), "test: lacks roc_auc"),
        (lambda m: m["dataset"].pop("licence"), "dataset: lacks licence"),
        (lambda m: m.update(seeds=[]), "seeds: list should have at least 1 item"),
        (lambda m: m["seeds"].pop(), r"expected shape \(1, 90, 3\)"),
    ],
)
def test_unusable_metrics_are_rejected(make_run, change, message):
    run = make_run()
    _edit(run, change)
    with pytest.raises(RunFolderError, match=message):
        write_report(run)


def test_a_folder_that_is_no_run_is_rejected(tmp_path):
    with pytest.raises(RunFolderError, match="no such folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match=r"metrics\.json: missing"):
        write_report(tmp_path)


def test_an_unusable_configuration_is_rejected(make_run):
    run = make_run()
    (run / "config.yaml").write_text("dataset: {name: bloodmnist}\n")
    with pytest.raises(ConfigurationError, match="model"):
        write_report(run)


def test_published_classes_must_exist_in_the_run(make_run):
    published = Published(
        "t", "r", PublishedTask("t"), {}, per_class={7: {"f1": 0.5}}, per_class_split="test"
    )
    with pytest.raises(RunFolderError, match="class 7"):
        write_report(make_run(), published=published)


def test_an_unwritable_place_leaves_the_old_report(make_run):
    run = make_run()
    (run / "report.html").mkdir()
    with pytest.raises(RunFolderError, match=r"report\.html: cannot write"):
        write_report(run)
    assert list(run.glob(".report*")) == []


def test_the_comparison_has_a_row_and_a_working_link_per_run(make_run, tmp_path):
    first, second = make_run("first run #1"), make_run("second", num_seeds=1)
    write_report(first)
    out = tmp_path / "pages" / "compare.html"
    out.parent.mkdir()
    assert compare_runs([first, second], out) == out
    page = _page(out)
    assert page.values("a", "href") == ["../first%20run%20%231/report.html"]
    metrics = json.loads((first / "metrics.json").read_text())
    test = metrics["test"]
    row = page.row("first run #1")
    lower, upper = test["intervals"]["accuracy"]
    deviation = _percent(test["standard_deviation"]["accuracy"])
    expected = f"{_percent(test['accuracy'])} ± {deviation}{_percent(lower)}–{_percent(upper)}"
    assert row[3:5] == ["2", expected]
    assert row[-2:] == ["4,008,589circuit 24", "1 h 23 min"]
    assert page.row("secondno report yet")[3] == "1"
    assert "Synthetic data." in page.text
    assert "Not the same data." not in page.text


def test_the_comparison_warns_of_different_data(make_run, tmp_path):
    first, second = make_run("first", synthetic=False), make_run("second", synthetic=False)
    _edit(second, lambda m: m["dataset"].update(fingerprint="ee" * 32))
    page = _page(compare_runs([first, second], tmp_path / "compare.html"))
    assert "Not the same data." in page.text
    assert "Synthetic data." not in page.text


def test_a_comparison_needs_finished_runs(make_run, tmp_path):
    with pytest.raises(RunFolderError, match="no run folder"):
        compare_runs([], tmp_path / "compare.html")
    run = make_run()
    shutil.rmtree(run)
    with pytest.raises(RunFolderError, match="no such folder"):
        compare_runs([run], tmp_path / "compare.html")


def test_binary_runs_have_a_report(make_run):
    """A run of two classes draws one ROC curve and reads class 1 as the positive one."""
    run = make_run()
    with np.load(run / "predictions.npz") as arrays:
        content = dict(arrays)
    for split in ("train", "validation", "test"):
        content[f"{split}_labels"] = np.minimum(content[f"{split}_labels"], 1)
        content[f"{split}_probabilities"] = content[f"{split}_probabilities"][..., :2]
    np.savez(run / "predictions.npz", **content)

    def keep_two(metrics):
        metrics["dataset"]["class_names"].pop()
        for split in ("train", "validation", "test"):
            metrics[split]["per_class"].pop()
            matrix = np.asarray(metrics[split]["confusion_matrix"])[:2, :2]
            metrics[split]["confusion_matrix"] = matrix.tolist()

    _edit(run, keep_two)
    assert len(_page(write_report(run)).values("img", "src")) == 6


def test_every_middle_has_a_description():
    texts = set()
    for middle in MIDDLE_NAMES:
        config = ModelConfig.model_validate({"backbone": {"name": "compact"}, "middle": middle})
        texts.add(brief_model(config)[1])
    assert len(texts) == len(MIDDLE_NAMES)
