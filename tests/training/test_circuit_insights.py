"""Insights into the trained circuit, against references written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import analysis
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.models.middles import build_circuit
from hqnn_jax.training.insights import Insights
from tests.training.conftest import CIRCUIT, examples
from tests.training.insights import ALL, CLASS_WEIGHTS, KEY, ROWS, measure


def angles_of(params, inputs):
    """What the circuit is given: the network in front of it, written out."""
    hidden = np.asarray(inputs, np.float64) @ np.asarray(
        params["processor"]["linears"][0]["kernel"]
    )
    norm = params["processor"]["norms"][0]
    hidden = hidden / np.sqrt(1 + 1e-5) * np.asarray(norm["scale"]) + np.asarray(norm["bias"])
    projection = params["projection"]
    features = np.maximum(hidden, 0) @ np.asarray(projection["kernel"]) + np.asarray(
        projection["bias"]
    )
    return np.pi / 2 * np.tanh(features)


def states_of(circuit, weights, angles):
    """State vectors by PennyLane."""

    def state(features):
        with qml.queuing.AnnotatedQueue() as queued:
            circuit.function(features, np.asarray(weights, np.float64))
        operations = qml.tape.QuantumScript.from_queue(queued).operations
        script = qml.tape.QuantumScript(operations, [qml.state()])
        return qml.execute([script], qml.device("default.qubit", wires=circuit.num_qubits))[0]

    return np.stack([state(features) for features in angles])


def test_states_of_the_trained_circuit(setup):
    config, task, variables = setup(("entangling_capability", "expressibility"))
    data = examples(70, seed=1)
    found = measure(config, task, variables, data)
    circuit = build_circuit(config.model.circuit)
    weights = variables.params["middle"]["weights"]
    states = states_of(circuit, weights, angles_of(variables.params, data.inputs[ROWS]))
    purities = [
        np.mean(
            [
                np.trace(rho @ rho).real
                for rho in qml.math.reduce_dm(
                    np.einsum("bi,bj->bij", states, states.conj()), [qubit]
                )
            ]
        )
        for qubit in range(3)
    ]
    assert found["entangling_capability"] == pytest.approx(2 * (1 - np.mean(purities)), abs=1e-5)
    pairs = np.triu_indices(len(states), 1)
    fidelities = np.abs(states.conj() @ states.T)[pairs] ** 2
    expected = analysis.fidelity_divergence(fidelities, 3).divergence
    # A fidelity at the edge of a bin may be rounded into the next.
    assert found["expressibility"] == pytest.approx(expected, rel=2e-3)
    assert set(found) == {"entangling_capability", "expressibility"}


def test_entangling_capability_of_product_states_and_of_ghz_states(setup, own_circuit):
    name = ("entangling_capability",)
    circuit = {
        "name": "composed",
        "num_qubits": 3,
        "ansatz": "real_amplitudes",
        "entanglement": "none",
    }
    found = measure(*setup(name, circuit))
    assert found["entangling_capability"] == pytest.approx(0, abs=1e-6)

    def ghz(features, weights):
        qml.Hadamard(0)
        qml.CNOT([0, 1])
        qml.CNOT([1, 2])
        qml.RZ(features[0], 1)
        qml.RY(weights[0], 2)
        return qml.expval(qml.Z(0))

    found = measure(*setup(name, own_circuit(ghz, 3, 1, 1)))
    assert found["entangling_capability"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_effective_dimension_is_that_of_the_network_in_the_weights_of_its_circuit(setup, x64):
    config, task, variables = setup(("effective_dimension",))
    data = examples(70, seed=1)
    circuit = build_circuit(config.model.circuit)
    angles = angles_of(variables.params, data.inputs[ROWS])
    with jax.enable_x64(x64):
        dtype = jnp.float64 if x64 else jnp.float32
        variables = jax.tree.map(lambda leaf: leaf.astype(dtype), variables)
        insights = Insights.of(config, task)
        found = jax.jit(insights.measure)(variables, data, ROWS, CLASS_WEIGHTS, KEY)
        assert found["effective_dimension"].dtype == dtype
        head, weights = variables.params["logits"], variables.params["middle"]["weights"]

        def probabilities(weights):
            outputs = circuit.to_jax("unitary")(weights, jnp.asarray(angles, dtype))
            return jax.nn.softmax(outputs @ head["kernel"] + head["bias"])

        values = np.asarray(probabilities(weights), np.float64)
        slopes = np.asarray(jax.jit(jax.jacfwd(probabilities))(weights), np.float64)
    slopes = slopes.reshape(*values.shape, -1)
    fisher = np.einsum("xci,xc,xcj->ij", slopes, 1 / values, slopes) / len(values)
    # 4 batches of 16 make an epoch.
    expected = analysis.effective_dimension(fisher[None], 64).normalized[0]
    tolerance = 1e-9 if x64 else 1e-4
    assert float(found["effective_dimension"]) == pytest.approx(expected, rel=tolerance)


def test_spectrum_of_a_known_circuit(setup, own_circuit):
    def function(features, weights):
        qml.RY(features[0], 0)
        qml.RX(weights[0], 0)
        return [qml.expval(qml.Z(0)), qml.expval(qml.X(0)), qml.expval(qml.Z(1))]

    config, task, variables = setup(("fourier_spectrum",), own_circuit(function, 2, 1, 1))
    data = examples(70, seed=1)
    found = measure(config, task, variables, data)
    x = angles_of(variables.params, data.inputs[ROWS])
    w = np.asarray(variables.params["middle"]["weights"])
    # cos x cos w, sin x, and 1.
    constant, wave = np.mean(np.sin(x) ** 2) + 1, np.mean(np.cos(x) ** 2) / 2
    input_wave = np.sum(np.cos(w) ** 2) / 2 + 0.5
    expected = {
        "fourier_spectrum/degree_0": constant / (constant + wave),
        "fourier_spectrum/degree_1": wave / (constant + wave),
        "fourier_spectrum/input_degree_0": 1 / (1 + input_wave),
        "fourier_spectrum/input_degree_1": input_wave / (1 + input_wave),
    }
    assert found == pytest.approx(expected, rel=1e-5)


def test_input_spectrum_only_where_features_make_a_small_series(setup, own_circuit):
    def function(features, weights):
        qml.RY(features[0] * weights[0], 0)
        qml.RX(weights[1], 0)
        return qml.expval(qml.Z(0))

    with pytest.raises(ConfigurationError, match=r"insights: fourier_spectrum: .*not a linear"):
        Insights.of(*setup(ALL, own_circuit(function, 1, 1, 2))[:2])
    circuits = [
        {"name": "composed", "num_qubits": 2, "embedding": "zz"},
        {"name": "composed", "num_qubits": 8, "num_layers": 1},
    ]
    for circuit in circuits:
        insights = Insights.of(*setup(("fourier_spectrum",), circuit)[:2])
        assert insights.circuit.input_power is None
        assert insights.circuit.weight_power is not None


def test_variants_of_the_circuit(setup):
    names = ("entangling_capability", "fourier_spectrum")
    trained = measure(*setup(names))
    frozen = measure(*setup(names, middle="frozen"))
    assert frozen == pytest.approx(trained, rel=1e-5, abs=1e-6)
    unentangled = measure(*setup(names[:1], middle="unentangled"))
    assert unentangled["entangling_capability"] == pytest.approx(0, abs=1e-6)
    assert trained["entangling_capability"] > 0.1
    noisy = measure(*setup(names, {**CIRCUIT, "noise": {"one_qubit": 0.1}}))
    # States are those without noise; what is measured of the outputs is not.
    assert noisy["entangling_capability"] == pytest.approx(trained["entangling_capability"])
    shares = [found["fourier_spectrum/input_degree_1"] for found in (trained, noisy)]
    assert abs(shares[0] - shares[1]) > 1e-3
