"""Drawings show which angles are data and which are weights."""

import jax.numpy as jnp
import pennylane as qml
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from hqnn_jax.circuits import (
    ANSATZE,
    CIRCUITS,
    EMBEDDINGS,
    Circuit,
    NoiseModel,
    compose,
    depolarizing,
    strongly_entangling,
)
from hqnn_jax.errors import CircuitError


def of_all_kinds(x, w):
    qml.RY(x[0], 0)
    qml.RX(2 * x[1], 1)
    qml.CRZ(x[0] * x[1], [0, 1])
    qml.Rot(*w[0], wires=0)
    qml.RX(x[1] * w[1, 2], 1)
    qml.RZ(0.25, 0)
    qml.ctrl(qml.RY, control=2)(jnp.sum(jnp.sin(w)) * x[0], wires=0)
    qml.SWAP([1, 2])
    return [qml.expval(qml.Z(0)), qml.probs(wires=1)]


CIRCUIT = Circuit.from_function(of_all_kinds, num_qubits=3, num_features=2, weights_shape=(2, 3))
LABELS = {
    "RY\n(x[0])": "data x",
    "RX\n(2·x[1])": "data x",
    "RZ\n(x[0]·x[1])": "data x",
    "Rot\n(w[0,0],\nw[0,1],\nw[0,2])": "weights w",
    "RX\n(x[1]·w[1,2])": "data and weights",
    "RY\n(f(x, w))": "data and weights",
    "RZ\n(0.25)": None,
}


def test_text():
    lines = CIRCUIT.draw("text").splitlines()
    assert len(lines) == 5
    for label in LABELS:
        assert any(label.replace("\n", "") in line for line in lines), label
    assert lines[-1] == "x: data, w: weights"


def test_colours_are_those_of_the_key():
    figure = CIRCUIT.draw()
    assert isinstance(figure, Figure)
    axes = figure.axes[0]
    (legend,) = figure.legends
    key = {
        text.get_text(): to_hex(patch.get_edgecolor())
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
    }
    assert list(key) == ["data x", "weights w", "data and weights"]
    assert len(set(key.values())) == 3
    drawn = {text.get_text(): to_hex(text.get_color()) for text in axes.texts}
    for label, kind in LABELS.items():
        assert (drawn[label] == key[kind]) if kind else (drawn[label] not in key.values()), label


def test_a_key_names_only_what_is_there():
    def data(x, w):
        qml.RX(x[0], 0)
        return qml.expval(qml.Z(0))

    circuit = Circuit.from_function(data, num_qubits=1, num_features=1, weights_shape=(0,))
    assert [text.get_text() for text in circuit.draw().legends[0].get_texts()] == ["data x"]


NOISE = NoiseModel(one_qubit=(depolarizing(0.1),))
DRAWABLE = {
    **CIRCUITS,
    **{name: lambda e=name: compose(3, 1, embedding=e) for name in EMBEDDINGS},
    **{name: lambda a=name: compose(4, 1, ansatz=a) for name in ANSATZE},
    "noisy": lambda: strongly_entangling(2, 1).with_noise(NOISE),
}


@pytest.mark.parametrize("name", DRAWABLE)
def test_every_circuit_of_the_library_is_drawn(name):
    text = DRAWABLE[name]().draw("text")
    assert "x[0]" in text or "f(x)" in text
    assert "w[" in text or "f(w)" in text
    assert "Traced" not in text


def test_no_such_style():
    with pytest.raises(CircuitError, match=r"draw\('svg'\): expected 'mpl' or 'text'"):
        CIRCUIT.draw("svg")
