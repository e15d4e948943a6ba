"""The files an ablation leaves: page, tables, figures and JSON."""

import csv
import dataclasses
import html
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.colors import to_hex

from hqnn_jax.ablation import axis_figures, epoch_figures, figures, tables
from hqnn_jax.ablation.report import describe, write_reports
from hqnn_jax.errors import RunFolderError
from hqnn_jax.evaluation.plots import BLUE, GREY, VERMILION
from tests.ablation import results_factory as factory

FILES = {
    "report.html", "arms.csv", "comparisons.csv", "arms.tex", "comparisons.tex", "study.json",
    "forest.png", "forest.svg",
}  # fmt: skip
HOSTILE = r"<i>a & b_1</i> 5 % $x^2$ #1 {~}\ [0.1] “q” −3"


class _Page(HTMLParser):
    """Collects tags in order, visible text, table rows and the sources of pictures."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.sources, self.words = [], [], [], []
        self._cell = False
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        self._cell = tag in ("td", "th")
        if self._cell:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self._cell = False

    def handle_data(self, data):
        self.words.append(data)
        if self._cell:
            self.rows[-1][-1] += data

    def row(self, *cells):
        return next(row for row in self.rows if row[: len(cells)] == list(cells))


def _read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _title(figure):
    return figure.get_suptitle()


def _lines(axes, **wanted):
    """Return the lines whose properties have the given values."""
    return [
        line
        for line in axes.get_lines()
        if all(getattr(line, f"get_{name}")() == value for name, value in wanted.items())
    ]


@pytest.fixture(scope="module")
def results():
    return factory.eight_arms()


@pytest.fixture(scope="module")
def folder(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports") / "not" / "there"
    assert write_reports(results, folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return _Page((folder / "report.html").read_text(encoding="utf-8"))


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
    assert row[5:8] == ["2,194", "0", "10.0 s"]
    assert page.row("quantum (reference)")[6] == "24"
    row = page.row("none", f"{100 * comparison.mean:+.2f}")
    assert row[4] == f"{100 * comparison.detectable:.2f}"
    assert row[5] == "<0.001"
    assert row[8] == f"{comparison.adjusted:.3f}"
    assert row[9] == f"{comparison.effect_size:+.2f}"
    assert row[10] == "<0.001 (145 : 140)"
    negative = results.comparisons["linear"]
    assert page.row("linear", f"−{abs(100 * negative.mean):.2f}")[10].endswith("(140 : 152)")


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
        assert float(record["bootstrap_low"]) == comparison.bootstrap_interval[0]
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
    page = _Page(write_reports(results, tmp_path).read_text(encoding="utf-8"))
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
    assert all(_title(figure).endswith("— synthetic data") for figure in drawn)
    assert not _title(figures.forest(factory.eight_arms(seeds=2))).endswith("synthetic data")


def test_the_forest_has_a_row_for_each_compared_arm(results):
    figure = figures.forest(results)
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [results.arm(name).label for name in results.comparisons]
    assert figure.legends[0].get_texts()[0].get_text().endswith("p < 0.05)")
    for row, comparison in enumerate(results.comparisons.values()):
        (bar,) = [patch for patch in axes.patches if patch.get_y() < row < patch.get_y() + 1]
        assert bar.get_x() == pytest.approx(-100 * comparison.detectable)
        assert bar.get_width() == pytest.approx(200 * comparison.detectable)
        differs = comparison.adjusted < 0.05
        (point,) = [
            line
            for line in _lines(axes, marker="D" if differs else "o")
            if list(line.get_ydata()) == [row]
        ]
        assert point.get_xdata()[0] == pytest.approx(100 * comparison.mean)
        assert to_hex(point.get_color()).upper() == (VERMILION if differs else BLUE)
        (seeds,) = [line for line in _lines(axes, marker=".") if line.get_ydata()[0] == row + 0.24]
        assert seeds.get_xdata() == pytest.approx(100 * np.asarray(comparison.differences))
        interval = [line for line in _lines(axes, marker="None") if set(line.get_ydata()) == {row}]
        assert interval[0].get_xdata() == pytest.approx(100 * np.asarray(comparison.t_interval))
    assert {c.adjusted < 0.05 for c in results.comparisons.values()} == {True, False}
    texts = [text.get_text() for text in axes.texts]
    assert len(texts) == 7
    assert texts[-1].startswith("−1.")


def test_a_second_panel_enlarges_what_a_large_difference_would_hide(results):
    assert len(figures.forest(results).axes) == 1
    noise = factory.noise()
    whole, enlarged = figures.forest(noise).axes
    assert whole.get_xlim()[0] < 100 * noise.comparisons["0_1"].mean
    low, high = enlarged.get_xlim()
    assert -3 < low < 100 * noise.comparisons["0_01"].mean < 0 < high < 3
    beyond = {int(line.get_ydata()[0]) for line in _lines(enlarged, marker="<")}
    assert beyond == {3, 4}


def test_the_forest_grows_with_the_arms():
    results = factory.grid(seeds=2)
    figure = figures.forest(results)
    assert len(figure.axes[0].get_yticklabels()) == 41
    # Room for a line of text of 9 points for every arm.
    assert figure.get_size_inches()[1] > 41 * 2 * 9 / 72


def test_the_forest_without_comparisons_is_refused():
    with pytest.raises(ValueError, match="arm_means"):
        figures.forest(factory.one_arm())


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
    page = _Page(write_reports(results, tmp_path).read_text(encoding="utf-8"))
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
    page = _Page(write_reports(results, tmp_path).read_text(encoding="utf-8"))
    assert page.row("matched", "—")[1:5] == ["—"] * 4
    assert "nan" not in page.text.lower()
    assert page.row("matched", "—", "—", "—", "—", "—")[10] == "— (0 : 0)"
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
    page = _Page(text)
    assert all(sentence in page.text for sentence in results.verdicts)


def test_heat_maps_show_means_and_differences():
    results = factory.grid(seeds=3, rows=(2, 4, 8))
    figure = axis_figures.heat_maps(results)
    means, differences = figure.axes[:2]
    assert [label.get_text() for label in means.get_yticklabels()] == ["2", "4", "8"]
    values = means.images[0].get_array()
    assert values.shape == (3, 6)
    arm = results.arm("qubits_4__layers_5")
    assert values[1, 4] == pytest.approx(100 * arm.summary.mean)
    assert differences.images[0].get_array()[1, 4] == pytest.approx(
        100 * results.comparisons[arm.name].mean
    )
    low, high = differences.images[0].get_clim()
    assert low == -high
    texts = {text.get_position(): text.get_text() for text in differences.texts}
    assert texts[0, 0] == "ref."
    for (column, row), text in texts.items():
        name = f"qubits_{(2, 4, 8)[row]}__layers_{column + 1}"
        if name in results.comparisons:
            assert text.endswith("*") == (results.comparisons[name].adjusted < 0.05)


def test_heat_maps_need_a_complete_grid_of_two_axes(results):
    grid = factory.grid(seeds=2, rows=(2, 4))
    assert axis_figures.is_complete_grid(grid)
    incomplete = dataclasses.replace(grid, arms=grid.arms[:-1])
    assert not axis_figures.is_complete_grid(incomplete)
    assert not axis_figures.is_complete_grid(results)
    with pytest.raises(ValueError, match="two axes"):
        axis_figures.heat_maps(results)


def test_learning_curves_have_a_line_per_middle_and_all_images_last():
    results = factory.training_size(seeds=3)
    assert axis_figures.curve_axes(results) == ("training_size",)
    figure = axis_figures.curves(results, "training_size")
    (axes,) = figure.axes
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks == ["25", "50", "100", "200", "400", "all"]
    legend = axes.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["quantum", "matched"]
    assert legend.get_title().get_text() == "middle"
    drawn = {line.get_label(): line for line in axes.get_lines() if line.get_marker() in "os"}
    means = [
        100 * results.arm(f"middle_matched__training_size_{size}").summary.mean for size in ticks
    ]
    assert drawn["matched"].get_ydata() == pytest.approx(means)
    steps = np.diff(drawn["matched"].get_xdata())
    assert steps == pytest.approx(np.full(5, math.log10(2)))
    # Only numbers are joined by a whole line and have a band.
    assert {len(line.get_xdata()) for line in _lines(axes, linestyle="-", marker="None")} == {2, 5}
    assert len(axes.collections) == 2


def test_a_single_axis_of_numbers_is_one_line():
    results = factory.noise(seeds=3)
    assert axis_figures.curve_axes(results) == ("noise",)
    (axes,) = axis_figures.curves(results, "noise").axes
    assert axes.get_xticklabels()[0].get_text() == "0"
    assert axes.get_legend() is None
    assert "logarithmic" in axes.get_xlabel()


def test_words_and_large_grids_have_no_lines(results):
    assert axis_figures.curve_axes(results) == ()
    assert axis_figures.curve_axes(factory.grid(seeds=2)) == ()
    with pytest.raises(ValueError, match="middle"):
        axis_figures.curves(results, "middle")


def test_one_axis_at_a_time_draws_the_arms_that_differ_in_it_alone():
    grid = factory.grid(seeds=2)
    chosen = [a for a in grid.arms if a.settings["qubits"] == "2" or a.settings["layers"] == "1"]
    one_at_a_time = dataclasses.replace(grid, arms=tuple(chosen))
    assert axis_figures.curve_axes(one_at_a_time) == ("qubits", "layers")
    (axes,) = axis_figures.curves(one_at_a_time, "layers").axes
    (line,) = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert len(line.get_xdata()) == 6


@pytest.mark.parametrize(
    ("values", "expected", "logarithmic", "apart"),
    [
        (("1", "2", "3"), {"1": 1, "2": 2, "3": 3}, False, set()),
        (("1,000", "10", "100"), {"10": 1, "100": 2, "1,000": 3}, True, set()),
        (("10", "100", "all"), {"10": 1, "100": 2, "all": 3}, True, {"all"}),
        (("exact", "100", "10"), {"10": 1, "100": 2, "exact": 3}, True, {"exact"}),
        (("none", "0.01", "0.1"), {"none": -3, "0.01": -2, "0.1": -1}, True, {"none"}),
        (("0", "0.01", "0.1"), {"0": -3, "0.01": -2, "0.1": -1}, True, {"0"}),
        (("0", "0.1", "0.2"), {"0": 0, "0.1": 0.1, "0.2": 0.2}, False, set()),
        (("-1", "0", "20"), {"-1": -1, "0": 0, "20": 20}, False, set()),
    ],
)
def test_numbers_are_placed_on_a_scale(values, expected, logarithmic, apart):
    scale = axis_figures.number_scale(values)
    assert scale.positions == pytest.approx(expected)
    assert list(scale.positions) == list(expected)
    assert (scale.logarithmic, scale.apart) == (logarithmic, apart)


@pytest.mark.parametrize(
    "values", [("quantum", "none"), ("1", "all"), ("1", "2", "a", "b"), ("1", "1.0"), ("nan", "1")]
)
def test_words_have_no_scale(values):
    assert axis_figures.number_scale(values) is None


def test_cost_has_a_panel_for_what_differs(results):
    figure = figures.cost(results)
    time, parameters = figure.axes
    assert time.get_xlabel() == "training, seconds a seed"
    assert len(figure.legends[0].get_texts()) == 8
    points = [line for line in parameters.get_lines() if line.get_marker() != "None"]
    assert [line.get_xdata()[0] for line in points] == [a.parameters["total"] for a in results.arms]
    means = [100 * arm.summary.mean for arm in results.arms]
    assert [line.get_ydata()[0] for line in points] == pytest.approx(means)
    (axes,) = figures.cost(factory.training_size(seeds=2)).axes
    assert axes.get_xscale() == "log"
    assert figures.cost(factory.noise(seeds=2)) is None


def test_cost_of_many_arms_has_a_legend_of_axes_or_notes():
    grid = factory.grid(seeds=2)
    texts = [text.get_text() for text in figures.cost(grid).legends[0].get_texts()]
    assert texts == ["qubits", *map(str, range(2, 9)), "layers", *map(str, range(1, 7))]
    listed = dataclasses.replace(grid, axes={})
    figure = figures.cost(listed)
    assert not figure.legends
    best = max(grid.arms, key=lambda arm: arm.summary.mean)
    notes = {text.get_text() for text in figure.axes[0].texts}
    assert notes == {best.label, "qubits 2, layers 1"}
    colors = {to_hex(line.get_color()).upper() for line in figure.axes[0].get_lines()}
    assert colors == {BLUE, GREY}


def test_training_curves_are_means_over_seeds(results):
    figure = epoch_figures.training(results)
    loss, accuracy = figure.axes
    arm = results.arms[2]
    final = [r["validation_accuracy"] for r in arm.history if r["epoch"] == 8]
    line = accuracy.get_lines()[2]
    assert line.get_ydata()[-1] == pytest.approx(100 * np.mean(final))
    band = accuracy.collections[2].get_paths()[0].vertices[:, 1]
    at_end = accuracy.collections[2].get_paths()[0].vertices[:, 0] == 8
    assert band[at_end].min() == pytest.approx(100 * min(final))
    assert band[at_end].max() == pytest.approx(100 * max(final))
    assert len(loss.get_lines()) == 8
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [arm.label for arm in results.arms]


def test_many_arms_are_rows_of_a_heat_map():
    results = factory.grid(seeds=2, rows=(2, 3, 4))
    figure = epoch_figures.training(results)
    assert not figure.legends
    picture = figure.axes[1].images[0]
    assert picture.get_array().shape == (18, 12)
    last = [r["validation_accuracy"] for r in results.arms[-1].history if r["epoch"] == 12]
    assert picture.get_array()[-1, -1] == pytest.approx(100 * np.mean(last))


def test_arms_of_one_training_are_drawn_once():
    results = factory.noise(seeds=2)
    history = results.arms[0].history
    shared = tuple(dataclasses.replace(arm, history=list(history)) for arm in results.arms)
    figure = epoch_figures.training(dataclasses.replace(results, arms=shared))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0 and 5 more"]
    empty = tuple(dataclasses.replace(arm, history=[]) for arm in results.arms)
    assert epoch_figures.training(dataclasses.replace(results, arms=empty)) is None


def test_insights_are_grouped_by_what_they_are(results, page):
    names = epoch_figures.insight_names(results)
    assert list(names) == ["gradient_norm", "entangling_capability", "fourier_spectrum"]
    assert names["gradient_norm"] == [
        f"gradient_norm/{group}" for group in ("backbone", "circuit", "classical")
    ]
    figure = epoch_figures.insight(results, "gradient_norm")
    assert [axes.get_ylabel() for axes in figure.axes] == ["backbone", "circuit", "classical"]
    assert "Entangling capability after each epoch." in page.text
    assert epoch_figures.insight(results, "unknown") is None
    assert epoch_figures.insight_names(factory.noise(seeds=2)) == {}


def test_insights_over_decades_are_logarithmic(results):
    history = [
        {"seed": 0, "epoch": epoch, "gradient_variance/circuit": 10.0**-epoch}
        for epoch in range(1, 6)
    ]
    arms = (dataclasses.replace(results.arms[0], history=history), *results.arms[1:3])
    figure = epoch_figures.insight(
        dataclasses.replace(results, arms=arms), "gradient_variance"
    )  # fmt: skip
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    assert len(axes.get_lines()) == 1


def test_shortened_labels_that_could_be_confused_stay_whole(results):
    long = "training.schedule.warmup_epochs and a great deal more than fits "
    arms = [dataclasses.replace(results.arms[i], label=long + str(i)) for i in range(2)]
    assert figures.arm_labels(arms, 20) == [long + "0", long + "1"]
    assert figures.arm_labels(arms[:1], 20) == [long[:19].rstrip() + "…"]
