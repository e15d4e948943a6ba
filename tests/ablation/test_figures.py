"""The figures of an ablation's report show what its results hold."""

import dataclasses
import math

import numpy as np
import pytest
from matplotlib.colors import to_hex

from hqnn_jax.ablation import axis_figures, epoch_figures, figures
from hqnn_jax.reporting.style import BLUE, GREY, VERMILION
from tests.ablation import results_factory as factory


def _lines(axes, **wanted):
    """Return the lines whose properties have the given values."""
    return [
        line
        for line in axes.get_lines()
        if all(getattr(line, f"get_{name}")() == value for name, value in wanted.items())
    ]


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
