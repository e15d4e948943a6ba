"""Figures of an evaluation on a backend, from results that were made up."""

import numpy as np
import pytest

from hqnn_jax.hardware_evaluation import figures
from tests.hardware_evaluation.results_factory import NAMES, OUTPUTS, arm, circuit_model, classical


def test_accuracy_by_arm_is_labelled_directly(two_models):
    figure = figures.accuracy_by_arm(two_models, two_models.record())
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[1] == "exact"
    assert labels[5:] == ["readout + dynamical decoupling", "", "stored predictions"]
    texts = [text.get_text() for text in axes.texts]
    assert "hybrid" in texts
    assert any(text.startswith("77.5 (") for text in texts)


def test_the_fitted_line_is_the_damping():
    exact = np.random.default_rng(3).uniform(-1, 1, (20, 2))
    line = figures.fitted_line(0.75 * exact - 0.125, exact)
    assert line == pytest.approx((0.75, -0.125))
    assert figures.fitted_line(exact, np.full_like(exact, 0.3)) is None


def test_a_panel_for_each_arm_says_its_slope():
    model = circuit_model()
    figure = figures.measured_against_exact(model, title="t")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[2] == "backend, unmitigated\nslope 0.750"
    assert len([axes for axes in figure.axes if axes.get_visible()]) == 4
    assert figures.measured_against_exact(classical(), title="t") is None


def test_errors_of_outputs_are_drawn_where_they_are(two_models):
    shown = two_models.record()["models"][0]
    figure = figures.output_errors(circuit_model(), shown, title="t")
    upper, lower = figure.axes
    assert [label.get_text() for label in lower.get_xticklabels()] == list(OUTPUTS)
    drawn = [line.get_ydata() for line in upper.lines]
    expected = [output["rmse"] for output in shown["arms"][3]["outputs"]]
    assert any(len(values) == 3 and np.allclose(values, expected) for values in drawn)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[2:] == [
        "backend, unmitigated", "readout + dynamical decoupling", "expected from shots alone",
    ]  # fmt: skip
    markers = {handle.get_marker() for handle in figure.legends[0].legend_handles[:4]}
    assert len(markers) == 4


def test_changed_predictions_have_the_exact_class_in_rows():
    reference, other = arm("exact", "exact", 0), arm("backend", "backend", 1)
    figure = figures.predicted_classes(other, reference, NAMES, title="t")
    axes, scale = figure.axes
    texts = {t.get_position(): t.get_text().split("\n")[0] for t in axes.texts}
    # The first image, of class 0, goes to class 1: column 1, row 0.
    assert texts[(1, 0)] == "1"
    assert texts[(0, 1)] == "0"
    assert axes.get_ylabel() == "class predicted from exact values"
    assert axes.get_title() == "t"
    assert "exact class" in scale.get_ylabel()


def test_fine_tuning_curves():
    figure = figures.fine_tuning({"a": [1.5, 1.0, 0.5], "b": [2.0]}, backend="fake_five")
    (axes,) = figure.axes
    assert axes.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert axes.lines[0].get_ydata().tolist() == [1.5, 1.0, 0.5]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert figure.get_suptitle() == "Fine-tuning on fake_five"
