"""The files an ablation leaves: page, tables, figures and JSON."""

import csv
import dataclasses
import html
import itertools
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from hqnn_jax.ablation import epoch_figures, figures, tables
from hqnn_jax.ablation.comparing import compare_arms, verdicts
from hqnn_jax.ablation.predictions import prediction_arrays, recompute
from hqnn_jax.ablation.report import describe, write_reports
from hqnn_jax.errors import RunFolderError
from hqnn_jax.evaluation.comparison import summarise
from tests.ablation import results_factory as factory
from tests.ablation.conftest import Page, title

FILES = {
    "report.html", "arms.csv", "comparisons.csv", "arms.tex", "comparisons.tex", "study.json",
    "predictions.npz", "forest.png", "forest.svg",
}  # fmt: skip
HOSTILE = r"<i>a & b_1</i> 5 % $x^2$ #1 {~}\ [0.1] “q” −3"


def _read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_file_is_written_and_nothing_else(folder):
    assert {path.name for path in folder.iterdir()} == FILES
    assert (folder / "forest.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (folder / "forest.svg").read_text()


def test_equal_results_give_equal_files(tmp_path):
    results = factory.training_size(seeds=3)
    write_reports(results, tmp_path)
    first = {name: (tmp_path / name).read_bytes() for name in FILES}
    write_reports(factory.training_size(seeds=3), tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == first


def test_the_page_needs_nothing_else(page):
    assert "script" not in page.tags
    assert page.sources
    assert all(source.startswith("data:") for source in page.sources)


def test_the_verdict_comes_first_and_the_whole_study_before_each_arm(page, folder, results):
    text = (folder / "report.html").read_text(encoding="utf-8")
    body = html.unescape(text[text.index("<body") :])
    places = [body.index(sentence) for sentence in results.verdicts]
    assert places[-1] == min(places)
    assert max(places) < body.index("<figure") < body.index("<table")
    assert "Synthetic data" not in page.text


def test_tables_show_the_arms_and_the_comparisons(page, results):
    arm, comparison = results.arm("none"), results.comparisons["none"]
    mean, (low, high) = arm.summary.mean, arm.summary.t_interval
    row = page.row("none", f"{100 * mean:.2f} ± {100 * arm.summary.deviation:.2f}")
    assert row[2] == f"{100 * low:.2f}–{100 * high:.2f}"
    assert row[4:7] == ["2,194", "0", "10.0 s"]
    assert page.row("quantum (reference)")[5] == "24"
    row = page.row("none", f"{100 * comparison.mean:+.2f}")
    assert row[3] == f"{100 * comparison.detectable:.2f}"
    assert row[4] == "<0.001"
    assert row[7] == f"{comparison.adjusted:.3f}"
    assert row[8] == f"{comparison.effect_size:+.2f}"
    assert row[9] == "<0.001 (145 : 140)"
    negative = results.comparisons["linear"]
    assert page.row("linear", f"−{abs(100 * negative.mean):.2f}")[9].endswith("(140 : 152)")


def test_csv_files_hold_every_digit(folder, results):
    records = _read_csv(folder / "arms.csv")
    assert [record["arm"] for record in records] == [arm.name for arm in results.arms]
    for record, arm in zip(records, results.arms, strict=True):
        assert float(record["mean"]) == arm.summary.mean
        assert float(record["t_high"]) == arm.summary.t_interval[1]
        assert float(record["test_roc_auc"]) == np.mean(arm.test["roc_auc"])
        deviation = np.std(arm.validation["accuracy"], ddof=1)
        assert float(record["validation_accuracy_deviation"]) == deviation
        assert int(record["parameters_total"]) == arm.parameters["total"]
        assert float(record["train_seconds"]) == arm.train_seconds
        assert record["axis_middle"] == arm.label
        assert record["reference"] == results.reference.get(arm.name, "")
    records = _read_csv(folder / "comparisons.csv")
    assert [record["arm"] for record in records] == list(results.comparisons)
    for record in records:
        comparison = results.comparisons[record["arm"]]
        for name in ("mean", "t_test", "wilcoxon", "permutation", "adjusted", "detectable"):
            assert float(record[name]) == getattr(comparison, name)
        assert int(record["only_reference_right"]) == comparison.only_reference_right


def assert_history(found, arm):
    for seed, values in enumerate(found["validation_loss"]):
        own = [record["validation_loss"] for record in arm.history if record["seed"] == seed]
        np.testing.assert_allclose(values, own, rtol=1e-6)
    assert len(found["validation_loss"]) == len(arm.seeds)
    assert found["learning_rate/circuit"][0][0] == 1e-3


def test_the_history_of_one_training_is_written_once():
    results = factory.noise(seeds=2)
    history = results.arms[0].history
    shared = tuple(dataclasses.replace(arm, history=list(history)) for arm in results.arms)
    first, *others = describe(dataclasses.replace(results, arms=shared))["arms"]
    assert_history(first["history"], results.arms[0])
    assert [arm["history"] for arm in others] == [first["name"]] * len(others)


def test_the_study_file_holds_everything_but_predictions(folder, results):
    text = (folder / "study.json").read_text(encoding="utf-8")
    study = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert study == describe(results)
    assert study["verdicts"] == list(results.verdicts)
    assert study["dataset"]["counts"]["train"] == 11959
    assert study["config_text"] == results.config_text
    arm = study["arms"][3]
    assert "predicted" not in arm
    assert arm["test"]["macro_f1"] == list(results.arms[3].test["macro_f1"])
    assert_history(arm["history"], results.arms[3])
    differences = study["comparisons"]["frozen"]["differences"]
    assert differences == list(results.comparisons["frozen"].differences)


def test_predictions_are_small_integers_beside_the_study(folder, results):
    with np.load(folder / "predictions.npz") as arrays:
        assert arrays["seeds"].tolist() == list(results.arms[0].seeds)
        assert arrays["labels"].dtype == np.int8
        for arm in results.arms:
            assert arrays[f"{arm.name}.predicted"].dtype == np.int8
            assert np.array_equal(arrays[f"{arm.name}.predicted"], arm.predicted)
            assert f"{arm.name}.labels" not in arrays
    study = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    arm = results.arms[2]
    right = [int(sum(row == arm.labels)) for row in arm.predicted]
    assert (study["arms"][2]["correct"], study["arms"][2]["images"]) == (right, 20)


def test_arms_tested_on_other_images_keep_their_own_true_classes():
    results = factory.eight_arms(seeds=2)
    other = dataclasses.replace(
        results.arms[1], labels=np.arange(12) % 3, predicted=np.full((2, 12), 200)
    )
    arms = (results.arms[0], other, *results.arms[2:])
    arrays = prediction_arrays(dataclasses.replace(results, arms=arms))
    assert np.array_equal(arrays["matched.labels"], other.labels)
    assert arrays["matched.predicted"].dtype == np.int16
    assert arrays["matched.predicted"].max() == 200


def _worse_and_worse(metric):
    """Four arms of nine seeds, whose summaries are of a metric that their predictions have."""
    rng = np.random.default_rng(11)
    labels = rng.integers(0, 3, 200)
    arms = []
    for number in range(4):
        wrong = rng.random((9, 200)) < 0.1 + 0.04 * number
        predicted = np.where(wrong, rng.integers(0, 3, (9, 200)), labels)
        values = {
            "accuracy": [accuracy_score(labels, row) for row in predicted],
            "macro_f1": [f1_score(labels, row, average="macro") for row in predicted],
            "roc_auc": rng.random(9).tolist(),
        }
        arm = factory.make_arm(rng, f"arm {number}", mean=0.8, seeds=9)
        summary = summarise(np.array(values[metric]))
        arms.append(
            dataclasses.replace(
                arm, test=values, predicted=predicted, labels=labels, summary=summary
            )
        )
    return arms


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_a_study_can_be_recomputed_from_its_predictions(tmp_path, metric):
    """Accuracy, tests, Holm's correction, power and verdicts, from the two files alone."""
    arms = _worse_and_worse(metric)
    made = factory.make_results(arms)
    comparisons = compare_arms(arms, made.reference, metric=metric, level=0.95)
    sentences = verdicts(arms, made.reference, comparisons, metric=metric, level=0.95)
    write_reports(
        dataclasses.replace(made, metric=metric, comparisons=comparisons, verdicts=sentences),
        tmp_path,
    )
    study = json.loads((tmp_path / "study.json").read_text())
    found = recompute(tmp_path)
    assert list(found.verdicts) == study["verdicts"]
    assert any("significantly lower" in sentence for sentence in found.verdicts)
    for arm in study["arms"]:
        assert found.test[arm["name"]]["accuracy"] == arm["test"]["accuracy"]
        assert found.test[arm["name"]]["macro_f1"] == pytest.approx(arm["test"]["macro_f1"])
        assert found.test[arm["name"]]["roc_auc"] == arm["test"]["roc_auc"]
        assert found.summaries[arm["name"]].mean == pytest.approx(arm["summary"]["mean"])
    for name, stored in study["comparisons"].items():
        again = dataclasses.asdict(found.comparisons[name])
        for key in ("mean", "permutation", "wilcoxon", "adjusted", "mcnemar", "detectable"):
            assert again[key] == pytest.approx(stored[key], rel=1e-6)
        # And by hand, from the arrays alone.
        if metric == "accuracy":
            with np.load(tmp_path / "predictions.npz") as arrays:
                right = {
                    key: (arrays[f"{key}.predicted"] == arrays["labels"]).sum(axis=1)
                    for key in (name, study["reference"][name])
                }
            counts = right[name] - right[study["reference"][name]]
            assert stored["counts"] == counts.tolist()
            flips = np.array(list(itertools.product((1, -1), repeat=9)))
            share = np.mean(np.abs(flips @ counts) >= abs(counts.sum()))
            assert stored["permutation"] == share


def _latex_rows(text):
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    return [line for line in body.splitlines() if line.endswith(r"\\")]


def test_latex_tables_are_well_formed(folder, results):
    for name, rows in (("arms.tex", 8), ("comparisons.tex", 7)):
        text = (folder / name).read_text(encoding="utf-8")
        assert text.count("{") == text.count("}")
        columns = len(re.search(r"\\begin\{tabular\}\{(\w+)\}", text)[1])
        header = text[text.index(r"\toprule") : text.index(r"\midrule")]
        lines = [header, *_latex_rows(text)]
        assert len(lines) == rows + 1
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {columns - 1}
        assert text[text.index(r"\begin") :].isascii()
    arm = results.arms[0]
    low, high = (100 * bound for bound in arm.summary.t_interval)
    assert 0.1 < (high - low) / 2 < 1  # two digits of half the width are two decimals
    first = _latex_rows((folder / "arms.tex").read_text())[0]
    assert first.startswith(rf"quantum & {100 * arm.summary.mean:.2f} $\pm$ ")
    assert f"{low:.2f}--{high:.2f}" in first


@pytest.mark.parametrize(
    ("half", "digits"), [(0.0003, 3), (0.0046, 2), (0.031, 1), (0.25, 0), (0.0, 2)]
)
def test_latex_rounds_by_the_width_of_the_interval(results, half, digits):
    summary = dataclasses.replace(results.arms[0].summary, t_interval=(0.5 - half, 0.5 + half))
    arm = dataclasses.replace(results.arms[0], summary=summary)
    row = _latex_rows(tables.arms_latex(dataclasses.replace(results, arms=(arm,))))[0]
    assert f"{100 * summary.mean:.{digits}f} $" in row


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_tables_compile(tmp_path):
    write_reports(_hostile(), tmp_path)
    inputs = "".join(rf"\input{{{name}}}" for name in ("arms", "comparisons"))
    (tmp_path / "main.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs}\begin{document}" + inputs
        + r"\end{document}"
    )  # fmt: skip
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)


def _hostile():
    """Return results of three arms whose labels and axis are hard to write everywhere."""
    rng = np.random.default_rng(5)
    values = (HOSTILE, "[[0, 1]]", "_hidden")
    arms = [
        factory.make_arm(rng, value, mean=0.8, seeds=3, epochs=3, settings={"$ax_is": value})
        for value in values
    ]
    return factory.make_results(arms, axes={"$ax_is": values}, synthetic=True)


def test_labels_are_escaped_everywhere(tmp_path):
    results = _hostile()
    page = Page(write_reports(results, tmp_path).read_text(encoding="utf-8"))
    assert "i" not in page.tags
    assert page.row(f"{HOSTILE} (reference)")
    assert page.row("[[0, 1]]")
    assert "<script>alert(1)</script>" in page.text
    assert _read_csv(tmp_path / "arms.csv")[0]["label"] == HOSTILE
    assert _read_csv(tmp_path / "arms.csv")[2]["axis_$ax_is"] == "_hidden"
    assert json.loads((tmp_path / "study.json").read_text())["arms"][0]["label"] == HOSTILE
    rows = _latex_rows((tmp_path / "arms.tex").read_text())
    escaped = (
        r"\textless{}i\textgreater{}a \& b\_1\textless{}/i\textgreater{} 5 \% "
        r"\$x\textasciicircum{}2\$ \#1 \{\textasciitilde{}\}\textbackslash{} {[}0.1{]} ``q'' $-$3"
    )
    assert rows[0].startswith(escaped + " & ")
    assert rows[1].startswith("{[}{[}0, 1{]}{]} & ")


def test_synthetic_data_are_named_on_the_page_and_in_every_figure(tmp_path):
    results = factory.eight_arms(seeds=2, synthetic=True)
    assert "Synthetic data." in write_reports(results, tmp_path).read_text()
    drawn = [
        figures.forest(results),
        figures.arm_means(results),
        figures.cost(results),
        epoch_figures.training(results),
        epoch_figures.insight(results, "gradient_norm"),
    ]
    for figure in drawn:
        assert "synthetic" not in title(figure)
        figure.say_synthetic()
        assert title(figure).endswith("— synthetic data")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (factory.one_arm, "there is one arm"),
        (lambda: factory.eight_arms(seeds=1), "a single seed"),
        (
            lambda: dataclasses.replace(
                factory.eight_arms(seeds=2), comparisons={}, verdicts=("All alike.",)
            ),
            "asks for none",
        ),
    ],
)
def test_without_comparisons_everything_else_is_written(make, reason, tmp_path):
    results = make()
    page = Page(write_reports(results, tmp_path).read_text(encoding="utf-8"))
    assert reason in page.text
    assert all(sentence in page.text for sentence in results.verdicts)
    assert "Holm" not in page.text
    assert {path.name for path in tmp_path.iterdir()} == FILES
    assert _read_csv(tmp_path / "comparisons.csv") == []
    assert (tmp_path / "comparisons.csv").read_text().startswith("arm,label,reference,")
    assert _latex_rows((tmp_path / "comparisons.tex").read_text()) == []
    assert len(_read_csv(tmp_path / "arms.csv")) == len(results.arms)


def test_undefined_metrics_are_dashes_empty_cells_and_null(tmp_path):
    results = factory.undefined(factory.eight_arms(seeds=3))
    page = Page(write_reports(results, tmp_path).read_text(encoding="utf-8"))
    assert page.row("matched", "—")[1:4] == ["—"] * 3
    assert "nan" not in page.text.lower()
    assert page.row("matched", "—", "—", "—", "—")[9] == "— (0 : 0)"
    record = _read_csv(tmp_path / "arms.csv")[1]
    assert (record["mean"], record["t_low"], record["train_seconds"]) == ("", "", "")
    study = json.loads((tmp_path / "study.json").read_text())
    assert study["arms"][1]["test"]["accuracy"] == [None] * 3
    assert study["comparisons"]["matched"]["adjusted"] is None
    assert study["comparisons"]["matched"]["t_interval"] == [None, None]
    assert "nan" not in (tmp_path / "arms.tex").read_text().lower()
    assert "nan" not in (tmp_path / "comparisons.tex").read_text().lower()


def test_a_folder_that_cannot_be_made_is_one_line(results, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(RunFolderError, match="cannot create") as raised:
        write_reports(results, blocked / "inside")
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_replaced_keeps_the_old_report(results, tmp_path):
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "study.json").mkdir()
    with pytest.raises(RunFolderError, match=r"study\.json"):
        write_reports(results, tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"


def test_references_are_named_in_few_words(results):
    assert tables.reference_label(results) == "“quantum”"
    sizes = factory.training_size(seeds=2)
    expected = "the arm with middle matched and all else equal"
    assert tables.reference_label(sizes) == expected
    assert expected in tables.comparisons_table(sizes).note
    crossed = dict(zip(sizes.reference, reversed(sizes.reference.values()), strict=True))
    mixed = dataclasses.replace(sizes, reference=crossed)
    assert tables.reference_label(mixed) == "its reference"
    table = tables.comparisons_table(mixed)
    assert table.columns[:2] == ("Arm", "Reference")
    assert table.rows[0][1] == "middle matched, training_size all"


def test_the_page_of_a_grid_leads_with_the_heat_maps(tmp_path):
    results = factory.grid(seeds=2, rows=(2, 4, 6))
    text = write_reports(results, tmp_path).read_text(encoding="utf-8")
    order = [text.index(f"<h2>{title}</h2>") for title in ("Verdict", "Two axes",
             "Paired differences", "Comparisons", "Verdict on each arm", "Arms")]  # fmt: skip
    assert order == sorted(order)
    page = Page(text)
    assert all(sentence in page.text for sentence in results.verdicts)
