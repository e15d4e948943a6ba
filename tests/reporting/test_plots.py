"""The figures show the figures."""

import base64

import numpy as np
import pytest
from matplotlib.figure import Figure

from hqnn_jax.evaluation.metrics import compute_metrics
from hqnn_jax.reporting import plots
from hqnn_jax.reporting.style import ReportFigure, data_uri, image_file, short_label

NAMES = ["first", "second", "third"]


def _texts(axes):
    return [text.get_text() for text in axes.texts]


def _per_class(predict, num_samples=200):
    rng = np.random.default_rng(4)
    labels = rng.choice(3, size=num_samples, p=[0.6, 0.3, 0.1])
    probabilities = np.stack([predict(rng, labels, 3, strength=s) for s in (1.0, 2.0)])
    metrics = compute_metrics(probabilities[0], labels, NAMES, bootstrap_samples=100)
    return probabilities, labels, metrics["per_class"]


def test_training_curves_have_every_seed_and_mark_the_best_epochs():
    history = [
        {
            "seed": seed,
            "epoch": epoch,
            "train_loss": 1.0 / epoch,
            "train_accuracy": 0.1 * epoch,
            "validation_loss": 2.0 / epoch + seed,
            "validation_accuracy": 0.09 * epoch + 0.01 * seed,
        }
        for seed in (5, 9)
        for epoch in (1, 2, 3)
    ]
    figure = plots.training_curves(history, {5: 2, 9: 3})
    loss, accuracy = figure.axes
    assert [list(line.get_ydata()) for line in loss.lines] == [
        [1.0, 0.5, pytest.approx(1 / 3)],
        [7.0, 6.0, pytest.approx(5 + 2 / 3)],
        [6.0],
        [1.0, 0.5, pytest.approx(1 / 3)],
        [11.0, 10.0, pytest.approx(9 + 2 / 3)],
        [pytest.approx(9 + 2 / 3)],
    ]
    assert accuracy.lines[5].get_ydata() == pytest.approx([100 * (0.27 + 0.09)])
    assert list(accuracy.lines[5].get_xdata()) == [3]


def test_the_confusion_matrix_has_true_classes_in_rows():
    confusion = np.array([[8, 2, 0], [1, 3, 0], [0, 0, 0]])
    axes = plots.confusion_matrix(confusion, NAMES).axes[0]
    expected = ["8\n80.0 %", "2\n20.0 %", "0", "1\n25.0 %", "3\n75.0 %", "0", "0", "0", "0"]
    assert _texts(axes) == expected
    assert [text.get_position() for text in axes.texts][1] == (1, 0)
    assert axes.get_ylabel() == "true class"
    np.testing.assert_allclose(axes.images[0].get_array()[1], [25, 75, 0])


def test_bars_are_as_high_as_the_metrics_and_carry_their_intervals(predict):
    _, _, per_class = _per_class(predict)
    axes = plots.per_class_bars(per_class).axes[0]
    bars = [container for container in axes.containers if hasattr(container, "patches")]
    for container, name in zip(bars, ("precision", "recall", "f1"), strict=True):
        heights = [bar.get_y() + bar.get_height() for bar in container.patches]
        assert heights == pytest.approx([100 * entry[name] for entry in per_class])
        segments = container.errorbar.lines[2][0].get_segments()
        ends = [[low, high] for (_, low), (_, high) in segments]
        bounds = [entry["intervals"][name] for entry in per_class]
        np.testing.assert_allclose(ends, 100 * np.array(bounds))


def test_roc_curves_have_a_line_per_class_and_seed(predict):
    probabilities, labels, per_class = _per_class(predict)
    axes = plots.roc_curves(probabilities, labels, per_class).axes[0]
    assert len(axes.lines) == 3 * 2 + 1
    entry = per_class[0]
    line = axes.lines[0]
    area = np.trapezoid(line.get_ydata(), line.get_xdata())
    assert area == pytest.approx(entry["roc_auc"])
    shown = [text.get_text() for text in axes.get_legend().get_texts()]
    assert shown == [f"{e['class']} (AUC {e['roc_auc']:.4f})" for e in per_class]


def test_roc_curves_of_two_classes_show_the_positive_one(predict):
    labels = np.arange(60) % 2
    probabilities = predict(np.random.default_rng(0), labels, 2)
    per_class = compute_metrics(probabilities, labels, ["no", "yes"], bootstrap_samples=100)
    figure = plots.roc_curves(probabilities[None], labels, per_class["per_class"])
    (text,) = figure.axes[0].get_legend().get_texts()
    assert text.get_text().startswith("yes")


def test_the_reliability_diagram_shows_accuracy_against_confidence():
    probabilities = np.array([[[0.7, 0.3], [0.7, 0.3], [0.1, 0.9], [0.35, 0.65]]])
    labels = np.array([0, 1, 1, 0])
    figure = plots.reliability_diagram(probabilities, labels, num_bins=5)
    upper, lower = figure.axes
    # Bins (0.6, 0.8]: 0.7 right, 0.7 wrong, 0.65 wrong; (0.8, 1]: 0.9 right.
    assert upper.lines[1].get_xdata() == pytest.approx([(0.7 + 0.7 + 0.65) / 3, 0.9])
    assert upper.lines[1].get_ydata() == pytest.approx([1 / 3, 1.0])
    assert [bar.get_height() for bar in lower.patches] == pytest.approx([0, 0, 0, 75, 25])


@pytest.mark.parametrize("channels", [1, 3])
def test_sample_predictions_mark_the_wrong_ones(channels):
    images = np.random.default_rng(0).integers(0, 256, (2, 6, 9, channels), dtype=np.uint8)
    probabilities = np.array([[0.1, 0.7, 0.2], [0.1, 0.6, 0.3]])
    figure = plots.sample_predictions(images, np.array([1, 2]), probabilities, NAMES)
    right, wrong = figure.axes
    assert right.get_xlabel() == "✓ second\n70.0 %"
    assert wrong.get_xlabel() == "✗ second\n60.0 %\ntrue: third"
    assert wrong.spines["left"].get_linewidth() > right.spines["left"].get_linewidth()
    np.testing.assert_array_equal(wrong.images[0].get_array().reshape(images[1].shape), images[1])


def _every_data_figure(predict):
    probabilities, labels, per_class = _per_class(predict, 80)
    images = np.zeros((7, 5, 5, 3), np.uint8)
    history = [
        {
            "seed": 0,
            "epoch": 1,
            "train_loss": 1.0,
            "train_accuracy": 0.5,
            "validation_loss": 1.1,
            "validation_accuracy": 0.4,
        }
    ]
    return [
        plots.training_curves(history, {0: 1}),
        plots.confusion_matrix(np.eye(3, dtype=int), NAMES),
        plots.per_class_bars(per_class),
        plots.roc_curves(probabilities, labels, per_class),
        plots.reliability_diagram(probabilities, labels, num_bins=10),
        plots.sample_predictions(images, labels[:7], probabilities[0, :7], NAMES),
    ]


@pytest.mark.parametrize("synthetic", [True, False])
def test_every_title_says_when_the_data_are_synthetic(predict, synthetic):
    for figure in _every_data_figure(predict):
        image_file(figure, "svg", synthetic=synthetic)
        titles = figure.get_suptitle() + figure.axes[0].get_title()
        assert ("synthetic" in titles) == synthetic


def test_a_title_says_once_that_the_data_are_synthetic():
    figure, untitled = ReportFigure(2.0, 2.0, "Figure"), ReportFigure(2.0, 2.0)
    for each in (figure, untitled):
        each.subplots()
        assert image_file(each, "png", synthetic=True) == image_file(each, "png", synthetic=True)
    assert figure.get_suptitle() == "Figure — synthetic data"
    assert untitled.axes[0].get_title() == "synthetic data"


def test_long_names_and_formulae_become_harmless_labels():
    long = "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)"
    assert short_label(long) == "immature granulocytes"
    assert short_label("basophil (rare)") == "basophil (rare)"
    assert short_label("x" * 40) == "x" * 23 + "…"
    figure = Figure()
    # Unescaped, matplotlib raises on this as an unfinished formula.
    figure.text(0, 0, short_label(r"$\frac{$"))
    assert data_uri(figure, "png").startswith("data:image/png;base64,")


def test_figures_are_encoded_reproducibly():
    def draw():
        figure = Figure()
        figure.subplots().fill_between([0, 1], [0, 1])
        return figure

    first, second = (data_uri(draw(), "svg") for _ in range(2))
    assert first == second
    svg = base64.b64decode(first.removeprefix("data:image/svg+xml;base64,")).decode()
    assert "<svg" in svg
