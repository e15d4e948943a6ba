"""Compilation for backends: exact parity with the JAX engine, layouts, limits."""

import json
from functools import partial

import jax
import numpy as np
import pennylane as qml
import pytest
from matplotlib.figure import Figure
from qiskit.primitives import StatevectorEstimator

from hqnn_jax.circuits import CIRCUITS, EMBEDDINGS, MEASUREMENTS, Circuit, compose, radhi2025
from hqnn_jax.errors import CircuitError, HardwareError
from hqnn_jax.hardware.backends import open_backend
from hqnn_jax.hardware.compilation import compile_for
from hqnn_jax.hardware.execution import estimate

UNOPTIMISED = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}
BATCH = 2
LIBRARY = {
    **{name: partial(make, 3, 2) for name, make in CIRCUITS.items()},
    **{f"embedding {name}": partial(compose, 3, 1, embedding=name) for name in EMBEDDINGS},
    **{f"measurement {name}": partial(compose, 3, 1, measurement=name) for name in MEASUREMENTS},
    "reuploading": partial(compose, 4, 2, reuploading=True, entanglement=[(3, 0), (1, 2)]),
}
DEVICES = ("fake_manila", "fake_sherbrooke", "fake_torino")


@pytest.fixture(scope="module")
def devices():
    return {name: open_backend(name) for name in DEVICES}


def inputs(circuit):
    """Asymmetric angles, in float64."""
    rng = np.random.default_rng(4)
    weights = rng.uniform(-3, 3.5, circuit.weights_shape)
    return weights, rng.uniform(-1.5, 2.5, (BATCH, circuit.num_features))


def reference(circuit, weights, features):
    """Values of the JAX engine in float64, compiled without optimisation, which takes longest."""
    with jax.enable_x64(True):
        lowered = circuit.to_jax("statevector").lower(weights, features)
        return np.asarray(lowered.compile(UNOPTIMISED)(weights, features))


def far_apart(num_qubits=4):
    """A circuit whose entangler joins the ends of a line, so that SWAPs are needed on one."""

    def function(features, weights):
        for q in range(num_qubits):
            qml.RY(features[0] + q, q)
        for q, r in ((0, 3), (3, 1), (1, 2), (2, 0), (0, 1)):
            qml.CNOT([q, r])
            qml.RX(weights[0], r)
        return [qml.expval(qml.Z(q)) for q in range(num_qubits)]

    return Circuit.from_function(
        function, num_qubits=num_qubits, num_features=1, weights_shape=(1,), name="far_apart"
    )


@pytest.mark.parametrize("position", range(len(LIBRARY)), ids=list(LIBRARY))
def test_values_are_those_of_the_jax_engine(devices, position):
    circuit = list(LIBRARY.values())[position]()
    weights, features = inputs(circuit)
    expected = reference(circuit, weights, features)
    exact = compile_for(circuit, open_backend("statevector"))
    found = estimate(exact, weights, features)
    np.testing.assert_allclose(found.values, expected, atol=1e-8)
    assert not found.standard_errors.any()
    assert found.shots == 0

    # The compiled circuit without noise: qubits, directions of gates and angles are the device's.
    device = devices[DEVICES[position % len(DEVICES)]]
    compiled = compile_for(circuit, device, seed=position, num_tries=1)
    native, observables, _ = compiled.on_used_qubits()
    values = compiled.parameter_values(weights, features)
    assert values.shape == (BATCH, len(native.parameters))
    assert set(native.count_ops()) <= set(device.device.target.operation_names)
    pub = (native, [list(observables)], values[:, None])
    result = StatevectorEstimator().run([pub]).result()[0]
    np.testing.assert_allclose(result.data.evs, expected, atol=1e-6)


def test_radhi2025_keeps_its_depth_on_heavy_hex(devices):
    compiled = compile_for(radhi2025(), devices["fake_sherbrooke"])
    assert compiled.two_qubit_depth == 4
    assert compiled.num_two_qubit_gates == 10
    assert compiled.num_swaps == 0
    assert compiled.initial_layout == compiled.final_layout
    assert set(compiled.used_qubits) == set(compiled.final_layout)
    summary = compiled.summary()
    assert json.loads(json.dumps(summary)) == summary
    assert 0.5 < summary["expected_fidelity"] < 1


def test_swaps_are_counted_and_a_layout_can_be_given(devices):
    compiled = compile_for(far_apart(), devices["fake_manila"], initial_layout=[4, 1, 2, 3])
    assert compiled.initial_layout == (4, 1, 2, 3)
    assert compiled.num_swaps > 0
    assert compiled.final_layout != compiled.initial_layout
    # A SWAP is three CNOTs, fewer where it meets another on the same qubits.
    assert 5 < compiled.num_two_qubit_gates <= 5 + 3 * compiled.num_swaps
    assert compiled.two_qubit_depth <= compiled.depth
    chosen = compile_for(far_apart(), devices["fake_manila"])
    assert chosen.two_qubit_depth <= compiled.two_qubit_depth


def test_drawing_shows_the_used_qubits(devices):
    compiled = compile_for(radhi2025(3, 1), devices["fake_manila"], initial_layout=[4, 3, 2])
    figure = compiled.draw()
    assert isinstance(figure, Figure)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"q4 → 0", "q3 → 1", "q2 → 2"} <= {label.strip() for label in texts}


def test_what_cannot_be_compiled_is_refused(devices):
    manila = devices["fake_manila"]
    with pytest.raises(HardwareError, match=r"has 6 qubits, fake_manila only 5"):
        compile_for(radhi2025(), manila)
    with pytest.raises(HardwareError, match=r"layout \[0, 7, 1\]; expected 3 different qubits"):
        compile_for(radhi2025(3, 1), manila, initial_layout=[0, 7, 1])
    deep = compose(5, 1, embedding="amplitude")
    with pytest.raises(HardwareError, match=r"two-qubit depth of \d+ .*raise max_two_qubit_depth"):
        compile_for(deep, manila, num_tries=1, max_two_qubit_depth=20)
    assert compile_for(deep, manila, num_tries=1).two_qubit_depth > 20
    compiled = compile_for(radhi2025(3, 1), manila, num_tries=1)
    with pytest.raises(CircuitError, match="features have shape"):
        compiled.parameter_values(np.zeros((1, 3)), np.zeros((2, 4)))
