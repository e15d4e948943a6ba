"""Simulated arms, and compiled circuits in files."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import Circuit, compose, radhi2025
from hqnn_jax.config.hardware import HardwareConfig
from hqnn_jax.errors import HardwareError
from hqnn_jax.hardware.backends import open_backend
from hqnn_jax.hardware.compilation import compile_for
from hqnn_jax.hardware.saved import compiled_name, load_compiled, save_compiled
from hqnn_jax.hardware_evaluation import arms

FEATURES = np.random.default_rng(1).uniform(-2, 2, (7, 3))


def remainders(features, weights):
    """Angles that Qiskit cannot express."""
    for wire in range(3):
        qml.RY(jnp.mod(features[wire] * weights[wire], 1.3), wire)
    qml.CNOT([0, 2])
    qml.RX(weights[1], 2)
    return [qml.expval(qml.X(0) @ qml.Z(2)), qml.expval(qml.Z(1)), qml.expval(0.5 * qml.Z(0))]


@pytest.fixture(scope="module")
def circuit():
    return Circuit.from_function(remainders, num_qubits=3, num_features=3, weights_shape=(3,))


@pytest.fixture(scope="module")
def weights():
    return np.array([0.7, -1.9, 2.3])


def test_blocks_make_no_difference(circuit, weights, monkeypatch):
    whole, errors = arms.exact_values(circuit, weights, FEATURES)
    np.testing.assert_array_equal(errors, 0)
    with jax.enable_x64(True):
        np.testing.assert_allclose(whole, circuit.to_jax()(weights, FEATURES), atol=1e-12)
    monkeypatch.setattr(arms, "_MAX_NUMBERS", 3 * 2**3)
    blocks, _ = arms.exact_values(circuit, weights, FEATURES)
    np.testing.assert_allclose(blocks, whole, atol=1e-12)
    # Blocks draw independent shots: repeated samples are measured differently.
    repeated = np.tile(FEATURES[:3], (2, 1))
    drawn, _ = arms.shot_values(circuit, weights, repeated, shots=1000, seed=3)
    assert not np.allclose(drawn[:3], drawn[3:])


def test_shots_scatter_as_their_errors_say(circuit, weights):
    exact, _ = arms.exact_values(circuit, weights, FEATURES)
    values, errors = arms.shot_values(circuit, weights, FEATURES, shots=5000, seed=8)
    z = (values - exact) / errors
    assert 0.5 < np.sqrt(np.mean(z**2)) < 1.6
    again, _ = arms.shot_values(circuit, weights, FEATURES, shots=5000, seed=8)
    np.testing.assert_array_equal(again, values)


def test_outputs_have_the_names_of_their_observables(circuit):
    assert arms.output_names(circuit) == ("X0Z2", "Z1", "output 2")
    probabilities = compose(2, 1, measurement="probabilities")
    assert arms.output_names(probabilities) == tuple(f"output {place}" for place in range(4))


def test_mitigation_is_named_and_set(circuit):
    config = HardwareConfig.model_validate(
        {
            "mitigation": ("readout", "zne+twirling"),
            "zne": {"noise_factors": (1.0, 2.0), "extrapolator": "linear"},
            "randomizations": 5,
        }
    )
    found = arms.mitigations(config)
    assert list(found) == ["none", "readout", "twirling+zne"]
    assert found["none"].is_none
    assert (found["readout"].readout, found["readout"].zne) == (True, False)
    assert found["twirling+zne"].noise_factors == (1.0, 2.0)
    assert found["twirling+zne"].num_randomizations == 5


def test_precision_is_turned_into_shots():
    assert HardwareConfig().num_shots == 4096
    assert HardwareConfig(precision=0.03).num_shots == 1112
    assert HardwareConfig(shots=10).num_shots == 10


@pytest.mark.parametrize("backend", ["fake_manila", "statevector", "aer"])
def test_a_compiled_circuit_is_read_as_it_was_written(circuit, weights, tmp_path, backend):
    device = open_backend(backend)
    layout = [3, 1, 2] if backend == "fake_manila" else None
    compiled = compile_for(circuit, device, num_tries=2, initial_layout=layout)
    path = tmp_path / "c.qpy"
    assert load_compiled(path, circuit, device) is None
    save_compiled(path, compiled)
    found = load_compiled(path, circuit, device)
    assert found.summary() == compiled.summary()
    assert found.used_qubits == compiled.used_qubits
    assert found.observables == compiled.observables
    np.testing.assert_array_equal(
        found.parameter_values(weights, FEATURES), compiled.parameter_values(weights, FEATURES)
    )
    bound = [
        c.circuit.assign_parameters(c.parameter_values(weights, FEATURES)[4])
        for c in (found, compiled)
    ]
    assert bound[0] == bound[1]


def test_names_of_compiled_circuits_tell_them_apart():
    settings = {"optimization_level": 3}
    names = {
        compiled_name(radhi2025(3, 2), settings),
        compiled_name(radhi2025(3, 1), settings),
        compiled_name(radhi2025(4, 2), settings),
        compiled_name(radhi2025(3, 2), settings | {"optimization_level": 1}),
        compiled_name(compose(3, 2, measurement="z"), settings),
        compiled_name(compose(3, 2, measurement="zz"), settings),
    }
    assert len(names) == 6
    assert compiled_name(radhi2025(3, 2), settings) in names


def test_a_changed_byte_is_never_taken_for_the_circuit(circuit, tmp_path):
    """Some would be another circuit, with other angles or on other qubits."""
    device = open_backend("fake_manila")
    path = tmp_path / "c.qpy"
    save_compiled(path, compile_for(circuit, device, num_tries=1))
    description = tmp_path / "c.qpy.json"
    for file in (path, description):
        content = file.read_bytes()
        step = len(content) // 30
        damaged = [content[:50], b"", b"[]", b"\0" * 40]
        damaged += [
            content[:n] + bytes([content[n] ^ 1]) + content[n + 1 :]
            for n in range(0, len(content), step)
            # Of another name of the checksum it is not known that it was one.
            if b"checksum" not in content[n - 10 : n + 10]
        ]
        for changed in damaged:
            file.write_bytes(changed)
            with pytest.raises(
                HardwareError, match=r"c\.qpy.*damaged: delete it and c\.qpy\.json"
            ) as error:
                load_compiled(path, circuit, device)
            assert "\n" not in str(error.value)
        file.write_bytes(content)
    # Earlier versions wrote no checksum.
    described = json.loads(description.read_text())
    del described["checksum"]
    description.write_text(json.dumps(described))
    assert load_compiled(path, circuit, device) is not None
