"""Figures of the analyses show the numbers they are given."""

import io

import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.circuits import analysis
from hqnn_jax.reporting import circuit_plots


def render(figure):
    """Draw the figure; matplotlib raises for what it cannot lay out."""
    figure.savefig(io.BytesIO(), format="png")
    return figure


def test_plot_of_gradient_variance():
    variance = np.array([[0.1, 0.2], [0.05, 0.02]])
    result = analysis.GradientVariance(
        num_qubits=np.array([2, 4]),
        num_layers=np.array([1, 3]),
        variance=variance,
        interval=np.stack([0.9 * variance, 1.2 * variance]),
        decay_rate=np.array([0.3466, 1.1513]),
        decay_interval=np.array([[0.3, 1.1], [0.4, 1.2]]),
    )
    (axes,) = render(circuit_plots.plot_gradient_variance(result)).axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [
        "1 layer: decay 0.35 per qubit (0.30 – 0.40)",
        "3 layers: decay 1.15 per qubit (1.10 – 1.20)",
    ]
    # With two sizes the fit goes through both variances.
    fit = next(line for line in axes.lines if line.get_linestyle() == "--")
    np.testing.assert_allclose(fit.get_ydata(), variance[:, 0], rtol=1e-3)


def test_plots_of_states():
    found = analysis.fidelity_divergence(np.linspace(0, 1, 50), 2, num_bins=10)
    (axes,) = render(circuit_plots.plot_expressibility(found)).axes
    np.testing.assert_allclose(axes.patches[0].get_data().values, found.probabilities)
    np.testing.assert_allclose(axes.patches[1].get_data().values, found.haar_probabilities)
    capability = analysis.EntanglingCapability(0.4, 0.01, 0.5, np.linspace(0, 0.8, 30))
    none = analysis.EntanglingCapability(0.0, 0.0, 0.0, np.zeros(30))
    figure = render(circuit_plots.plot_entangling_capability({"$first": capability, "none": none}))
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == [r"\$first", "none"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first is on top


@pytest.mark.parametrize("degree", [(2,), (1, 2), (1, 0, 2)])
def test_plots_of_spectra(degree):
    rng = np.random.default_rng(2)
    shape = (2, *(2 * d + 1 for d in degree))
    coefficients = jnp.asarray(rng.normal(size=shape), jnp.complex64)
    frequencies = analysis.Frequencies(np.full(len(degree), 0.5), degree)
    spectrum = analysis.FourierSpectrum(coefficients, frequencies)
    axes = render(circuit_plots.plot_fourier_spectrum(spectrum)).axes
    if len(degree) == 1:
        heights = [bar.get_height() for bar in axes[0].patches]
        np.testing.assert_allclose(heights, np.abs(coefficients).ravel(), rtol=1e-6)
        assert axes[0].get_xticklabels()[0].get_text() == "−1.0"
    elif len(degree) == 2:
        shown = axes[0].images[0].get_array()
        expected = np.sqrt(np.mean(np.abs(coefficients) ** 2, axis=0)).T
        np.testing.assert_allclose(shown, expected, rtol=1e-6)
        assert [text.get_text() for text in axes[0].get_xticklabels()] == ["-0.5", "0", "0.5"]
    else:
        power = np.abs(np.asarray(coefficients[:, :, 0])) ** 2
        power[:, 1, 2] = 0
        power /= power.sum(axis=(1, 2), keepdims=True)
        single = power[0, :, 2].sum() + power[0, 1].sum()
        first = axes[0].lines[0].get_ydata()
        np.testing.assert_allclose(first, [100 * single, 100 * (1 - single), 0], atol=1e-3)
        shares = axes[1].images[0].get_array()
        np.testing.assert_allclose(shares.sum(axis=1), 100, rtol=1e-5)
        second_order = power[..., [0, 4]].sum(axis=(1, 2)).mean()
        np.testing.assert_allclose(shares[2, 2], 100 * second_order, rtol=1e-5)


def test_plots_of_information():
    figure = render(circuit_plots.plot_fisher_information(np.diag([3.0, 1.0, 0.0])))
    assert figure.axes[1].get_title() == "rank 2 of 3"
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), [3, 1])
    result = analysis.effective_dimension(np.eye(2)[None], [1e3, 1e4])
    (axes,) = render(circuit_plots.plot_effective_dimension({"model": result})).axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), result.normalized)
    assert axes.get_legend().get_texts()[0].get_text() == "model (d = 2, γ = 1)"
