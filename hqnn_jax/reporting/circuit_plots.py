"""Figures of the analyses of circuits; every function returns a new one."""

from typing import Any

import numpy as np
from jaxtyping import Array, Float
from matplotlib.ticker import MaxNLocator

from hqnn_jax.circuits.analysis.barren_plateaus import GradientVariance
from hqnn_jax.circuits.analysis.entanglement import EntanglingCapability
from hqnn_jax.circuits.analysis.fidelity import Expressibility
from hqnn_jax.circuits.analysis.fisher import EffectiveDimension
from hqnn_jax.circuits.analysis.fourier import FourierSpectrum
from hqnn_jax.reporting.formatting import count, fixed, short
from hqnn_jax.reporting.style import BLUE, GREY, PALETTE, SKY, VERMILION, ReportFigure, plain_axes
from hqnn_jax.text import plural

_MARKERS = "os^Dv<>p"


def plot_gradient_variance(result: GradientVariance) -> ReportFigure:
    """Draw gradient variance against qubits, one line per depth, with intervals and fits."""
    figure = ReportFigure(6.2, 4.2, "Gradient variance over random weights")
    axes = figure.subplots()
    for depth, num_layers in enumerate(result.num_layers):
        color = PALETTE[depth % len(PALETTE)]
        variance = result.variance[:, depth]
        reach = np.abs(result.interval[:, :, depth] - variance)
        # Side by side, so that the intervals of different depths do not cover each other.
        beside = 0.05 * (depth - (len(result.num_layers) - 1) / 2)
        label = plural(int(num_layers), "layer")
        rate = result.decay_rate[depth]
        if np.isfinite(rate):
            low, high = result.decay_interval[:, depth]
            label += f": decay {fixed(rate, 2)} per qubit ({fixed(low, 2)} – {fixed(high, 2)})"
            offset = result.num_qubits - result.num_qubits.mean()
            fit = np.exp(np.log(variance).mean() - rate * offset)
            axes.plot(result.num_qubits, fit, "--", color=color, linewidth=1.0)
        axes.errorbar(
            result.num_qubits + beside,
            variance,
            yerr=reach,
            fmt=_MARKERS[depth % len(_MARKERS)],
            color=color,
            markersize=5,
            capsize=3,
            elinewidth=1.0,
            label=label,
        )
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain_axes(axes, "qubits", "variance of ∂f/∂w (95 % interval)")
    axes.legend(frameon=False, fontsize=8.5)
    return figure


def plot_expressibility(result: Expressibility) -> ReportFigure:
    """Draw the histogram of fidelities beside the exact probabilities of Haar-random states."""
    figure = ReportFigure(6.2, 3.8, "Fidelities of pairs of random states")
    axes = figure.subplots()
    edges = np.linspace(0, 1, len(result.probabilities) + 1)
    label = (
        f"circuit: divergence {short(result.divergence, 3)} ± {short(result.standard_error, 1)} "
        "nats\n"
        f"({count(result.num_samples)} pairs; Haar-random states would show "
        f"{short(result.haar_divergence, 3)})"
    )
    axes.stairs(result.probabilities, edges, fill=True, color=SKY, label=label)
    axes.stairs(result.haar_probabilities, edges, color=VERMILION, label="Haar", linewidth=1.4)
    axes.set_yscale("log")
    # One count is the least that the histogram can show.
    axes.set_ylim(0.5 / result.num_samples, 2)
    axes.set_xlim(0, 1)
    plain_axes(axes, "fidelity", "probability of the bin")
    axes.legend(frameon=False, fontsize=8.5, loc="upper right")
    return figure


def plot_entangling_capability(results: dict[str, EntanglingCapability]) -> ReportFigure:
    """Draw the distribution of the Meyer–Wallach measure of one or several circuits.

    Args:
        results: one result per label, in the order drawn.
    """
    figure = ReportFigure(6.2, 1.7 + 0.6 * len(results), "Meyer–Wallach measure of random states")
    axes = figure.subplots()
    for row, result in enumerate(results.values()):
        # A violin needs values that differ; a circuit without entanglement has none.
        if np.ptp(result.values) > 1e-6:
            violin: Any = axes.violinplot(
                result.values, [row], orientation="horizontal", widths=0.8, showextrema=False
            )
            violin["bodies"][0].set(facecolor=SKY, alpha=0.9)
        axes.errorbar(
            result.mean,
            row,
            xerr=1.96 * result.standard_error,
            fmt="o",
            color=BLUE,
            capsize=3,
            label="mean with 95 % interval" if row == 0 else None,
        )
        haar = "mean of Haar-random states" if row == 0 else None
        axes.plot([result.haar_mean] * 2, [row - 0.4, row + 0.4], color=VERMILION, label=haar)
    plain_axes(axes, "Q", "")
    axes.grid(visible=False, axis="y")
    axes.set_yticks(range(len(results)), [_label(name) for name in results])
    axes.set(xlim=(-0.02, 1.02), ylim=(len(results) - 0.4, -0.6))
    figure.legend(frameon=False, fontsize=8.5, ncols=2, loc="outside lower center")
    return figure


def plot_fourier_spectrum(spectrum: FourierSpectrum) -> ReportFigure:
    """Draw the magnitudes of Fourier coefficients.

    One feature: |c_ω| of each output. Two: a map of the root mean square over the outputs. More:
    the share of the power Σ|c_ω|² without the constant, by the number of features with a nonzero
    frequency, and by frequency for each feature.
    """
    num_features = len(spectrum.frequencies.degree)
    if num_features == 1:
        return _one_feature(spectrum)
    if num_features == 2:
        return _two_features(spectrum)
    return _many_features(spectrum)


def plot_fisher_information(fisher: Float[Array | np.ndarray, "weights weights"]) -> ReportFigure:
    """Draw a Fisher information matrix and its eigenvalues."""
    matrix = np.asarray(fisher, np.float64)
    figure = ReportFigure(9.0, 3.9, "Fisher information in the weights")
    left, right = figure.subplots(1, 2)
    bound = np.max(np.abs(matrix))
    picture = left.imshow(matrix, cmap="RdBu_r", vmin=-bound, vmax=bound)
    figure.colorbar(picture, ax=left, shrink=0.85, label="1 / rad²")
    left.set(xlabel="weight", ylabel="weight")
    for axis in (left.xaxis, left.yaxis, right.xaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    eigenvalues = np.linalg.eigvalsh(matrix)[::-1]
    # What rounding leaves of zero is drawn at the edge, not over fifteen decades.
    floor = max(eigenvalues[0], np.finfo(np.float64).tiny) * 1e-7
    positions = np.arange(1, len(eigenvalues) + 1)
    shown = eigenvalues > floor
    right.plot(positions[shown], eigenvalues[shown], "o", color=BLUE, markersize=4)
    if not np.all(shown):
        zeros = np.full(np.sum(~shown), floor)
        label = "zero up to rounding"
        right.plot(positions[~shown], zeros, "x", color=GREY, markersize=4, label=label)
        right.legend(frameon=False, fontsize=8.5)
    right.set_yscale("log")
    plain_axes(right, "index, largest first", "eigenvalue (1 / rad²)")
    right.set_title(f"rank {np.sum(shown)} of {len(eigenvalues)}", fontsize=10)
    return figure


def plot_effective_dimension(results: dict[str, EffectiveDimension]) -> ReportFigure:
    """Draw the effective dimension per weight against the number of data, one line per model.

    Args:
        results: one result per label, in the order drawn.
    """
    figure = ReportFigure(6.2, 4.0, "Effective dimension per weight")
    axes = figure.subplots()
    for number, (name, result) in enumerate(results.items()):
        axes.plot(
            result.num_data,
            result.normalized,
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=4,
            color=PALETTE[number % len(PALETTE)],
            label=f"{_label(name)} (d = {result.num_weights}, γ = {short(result.gamma)})",
        )
    axes.set_xscale("log")
    axes.set_ylim(0, None)
    plain_axes(axes, "number of data", "effective dimension / weights")
    axes.legend(frameon=False, fontsize=8.5)
    return figure


def _one_feature(spectrum: FourierSpectrum) -> ReportFigure:
    figure = ReportFigure(6.2, 3.6, "Fourier coefficients")
    axes = figure.subplots()
    (frequencies,) = spectrum.frequencies.values
    magnitudes = np.abs(spectrum.coefficients)
    width = 0.8 * spectrum.frequencies.base[0] / len(magnitudes)
    for output, row in enumerate(magnitudes):
        place = frequencies + (output - (len(magnitudes) - 1) / 2) * width
        color = PALETTE[output % len(PALETTE)]
        axes.bar(place, row, 0.9 * width, color=color, label=f"output {output}")
    plain_axes(axes, "frequency ω", "|c|")
    axes.set_xticks(frequencies)
    axes.grid(visible=False, axis="x")
    axes.legend(frameon=False, fontsize=8.5)
    return figure


def _two_features(spectrum: FourierSpectrum) -> ReportFigure:
    figure = ReportFigure(5.2, 4.4, "Fourier coefficients")
    axes = figure.subplots()
    power = np.mean(np.abs(np.asarray(spectrum.coefficients)) ** 2, axis=0)
    picture = axes.imshow(np.sqrt(power).T, cmap="Blues", origin="lower", vmin=0)
    for axis, values in zip((axes.xaxis, axes.yaxis), spectrum.frequencies.values, strict=True):
        axis.set_ticks(range(len(values)), [short(value) for value in values])
    axes.set(xlabel="frequency in feature 0", ylabel="frequency in feature 1")
    label = "|c|, root mean square over outputs" if len(spectrum.coefficients) > 1 else "|c|"
    figure.colorbar(picture, ax=axes, shrink=0.85, label=label)
    return figure


def _many_features(spectrum: FourierSpectrum) -> ReportFigure:
    figure = ReportFigure(9.0, 3.8, "Fourier spectrum: share of the power without the constant")
    left, right = figure.subplots(1, 2)
    order, marginal = _shares(spectrum)
    for output, row in enumerate(order):
        left.plot(
            np.arange(1, order.shape[1] + 1),
            100 * row,
            marker=_MARKERS[output % len(_MARKERS)],
            markersize=4,
            color=PALETTE[output % len(PALETTE)],
            label=f"output {output}",
        )
    plain_axes(left, "features with a nonzero frequency", "%")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend(frameon=False, fontsize=8.5)
    picture = right.imshow(100 * marginal, cmap="Blues", aspect="auto", vmin=0)
    right.set(xlabel="|frequency| in units of the feature's base", ylabel="feature")
    for axis in (right.xaxis, right.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    figure.colorbar(picture, ax=right, shrink=0.85, label="%, mean over outputs")
    return figure


def _shares(
    spectrum: FourierSpectrum,
) -> tuple[Float[np.ndarray, "outputs orders"], Float[np.ndarray, "features frequencies"]]:
    """Power by the number of features with a nonzero frequency, and by feature and |frequency|."""
    degrees = spectrum.frequencies.degree
    indices = np.indices([2 * degree + 1 for degree in degrees])
    absolute = np.abs(indices - np.reshape(degrees, (-1, *[1] * len(degrees))))
    order = np.sum(absolute > 0, axis=0).ravel()
    power = np.abs(np.asarray(spectrum.coefficients)) ** 2
    power = power.reshape(len(power), -1) * (order > 0)
    total = power.sum(axis=1, keepdims=True)
    share = np.divide(power, total, out=np.zeros_like(power), where=total > 0)
    by_order = np.stack([np.bincount(order, row, len(degrees) + 1)[1:] for row in share])
    mean = share.mean(axis=0)
    bins = max(degrees) + 1
    marginal = np.stack([np.bincount(row.ravel(), mean, bins) for row in absolute])
    return by_order, marginal


def _label(name: str) -> str:
    """A label safe from matplotlib's `$` formulae."""
    return name.replace("$", r"\$")
