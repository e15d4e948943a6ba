"""Training and evaluation with the noise of a device: the compiled circuit in place of its source.

Values are compared with Aer's density matrix, and with shots of the fake backend.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from flax import nnx
from pydantic import ValidationError
from qiskit.quantum_info import DensityMatrix

from hqnn_jax.circuits import Circuit, radhi2025
from hqnn_jax.config import Config, ModelConfig, NoiseConfig
from hqnn_jax.errors import HardwareError
from hqnn_jax.hardware.backends import open_backend
from hqnn_jax.hardware.compilation import compile_for, noisy_circuit
from hqnn_jax.hardware.execution import estimate
from hqnn_jax.models.classifier import HybridNetwork
from hqnn_jax.models.middles import build_circuit, build_middle_circuit
from hqnn_jax.models.pure import Model
from hqnn_jax.progress import Progress
from hqnn_jax.runs.chosen import choose_checkpoint
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.runs.run import train
from hqnn_jax.runs.setup import load_setup
from hqnn_jax.runs.stages import Stages

QUIET = Progress(terminal=False)
CIRCUIT = {"name": "radhi2025", "num_qubits": 3, "num_layers": 2}
MANILA = {"device": "fake_manila"}


def mixed_angles(features, weights):
    """Angles of weights, of features, of both, and one that Qiskit cannot express.

    The last CNOT does not commute with the measurement, the first has no neighbour on a line.
    """
    for wire in range(3):
        qml.RY(features[wire % 2] * weights[0, 1] + wire, wire)
    qml.CNOT([2, 0])
    qml.RX(jnp.maximum(features[0], weights[1, 0]), 1)
    qml.RY(jnp.maximum(weights[0, 0], 0.1), 2)
    qml.CNOT([0, 1])
    qml.RY(weights[1, 1], 0)
    qml.CNOT([1, 2])
    return [qml.expval(qml.X(0) @ qml.Z(2)), qml.expval(qml.Y(1)), qml.expval(qml.Z(2))]


@pytest.fixture(scope="module")
def mixed():
    return Circuit.from_function(mixed_angles, num_qubits=3, num_features=2, weights_shape=(2, 2))


@pytest.fixture(scope="module")
def inputs():
    # In one sample the angle `maximum` is a feature, in the other a weight.
    return np.array([[0.7, 1.3], [0.4, -0.9]]), np.array([[-0.6, 1.1], [0.8, -1.4]])


def values(circuit, weights, features):
    with jax.enable_x64(True):
        return np.asarray(circuit.to_jax()(np.asarray(weights, float), np.asarray(features, float)))


def density_values(compiled, weights, features):
    """Exact values of Aer's simulation of the device, but for the readout."""
    native, observables, _ = compiled.on_used_qubits()
    simulator = compiled.backend.simulator(compiled.used_qubits)
    rows = []
    for parameters in compiled.parameter_values(weights, features):
        bound = native.assign_parameters(dict(zip(native.parameters, parameters, strict=True)))
        bound.save_density_matrix()
        state = DensityMatrix(simulator.run(bound).result().data()["density_matrix"])
        rows.append([state.expectation_value(observable).real for observable in observables])
    return np.array(rows)


# --- the compiled circuit as a circuit ---


@pytest.mark.parametrize("device", ["fake_manila", "fake_sherbrooke"])
def test_noise_is_exactly_that_of_the_simulated_device(mixed, inputs, device):
    compiled = compile_for(mixed, open_backend(device), num_tries=1)
    noisy = noisy_circuit(compiled)
    assert noisy.weights_shape == (2, 2)
    assert (noisy.num_features, noisy.num_outputs) == (2, 3)
    unread = noisy.with_noise(replace(noisy.noise, readout=None))
    found, ideal = (values(circuit, *inputs) for circuit in (unread, mixed))
    np.testing.assert_allclose(found, density_values(compiled, *inputs), atol=1e-9)
    assert np.abs(found - ideal).max() > 5e-3
    np.testing.assert_allclose(values(noisy.with_noise(None), *inputs), ideal, atol=1e-10)


def test_gradients_reach_weights_and_features(mixed, inputs):
    noisy = noisy_circuit(compile_for(mixed, open_backend("fake_manila"), num_tries=1))
    weights, features = inputs
    evaluate, step = noisy.to_jax(), 1e-4

    def loss(weights, features):
        return jnp.sum(evaluate(weights, features) * jnp.array([0.3, -1.1, 0.7]))

    with jax.enable_x64(True):
        by_weights, by_features = jax.jit(jax.grad(loss, (0, 1)))(weights, features)
        for found, place in ((by_weights, 0), (by_features, 1)):
            for index in np.ndindex(found.shape):
                change = np.zeros(found.shape)
                change[index] = step
                moved = [(a + (place == k) * change, a - (place == k) * change)
                         for k, a in enumerate(inputs)]  # fmt: skip
                plus, minus = (loss(*(pair[side] for pair in moved)) for side in (0, 1))
                np.testing.assert_allclose(found[index], (plus - minus) / (2 * step), atol=1e-6)
    assert np.abs(by_weights).min() > 1e-3


# --- configuration and middles ---


def model_config(middle="quantum", noise=MANILA, **circuit):
    return ModelConfig(
        backbone={"name": "compact"}, processor={"widths": [4]}, middle=middle,
        circuit={**CIRCUIT, "noise": noise, **circuit},
    )  # fmt: skip


def test_a_device_is_compiled_for_as_hardware_compiles():
    found = build_middle_circuit(model_config())
    expected = noisy_circuit(compile_for(radhi2025(3, 2), open_backend("fake_manila")))
    assert found.gates == expected.gates
    # Compiled once, whatever else the model is.
    assert build_middle_circuit(model_config("frozen", engine="pauli_transfer")) is found
    unoptimised = build_middle_circuit(model_config(noise={**MANILA, "optimization_level": 0}))
    assert len(unoptimised.gates) > len(found.gates)
    product = build_middle_circuit(model_config("product"))
    assert product.weights_shape == (3, 3)
    assert {gate.name for gate in product.gates}.isdisjoint({"CNOT", "CZ", "SWAP"})
    assert product.noise.readout[0].p0_given_1 > 0


def test_shapes_and_controls_are_those_of_the_ideal_circuit():
    circuit = build_circuit(model_config().circuit)
    assert circuit.noise is None
    assert circuit.gates == radhi2025(3, 2).gates
    assert build_middle_circuit(model_config("matched")) is None

    def variables(middle, noise):
        module = HybridNetwork(
            model_config(middle, noise),
            backbone=None, num_features=5, num_classes=3, key=jax.random.key(0),
        )  # fmt: skip
        return Model.split(module)[1]

    for middle in ("quantum", "matched"):
        arrays = (variables(middle, noise) for noise in (MANILA, None))
        jax.tree.map(np.testing.assert_array_equal, *arrays)


def test_what_the_configuration_says():
    with pytest.raises(ValidationError, match="has its own errors; set two_qubit, readout to 0"):
        NoiseConfig(device="fake_manila", two_qubit=0.1, readout=0.2)
    given = NoiseConfig(device="fake_manila", layout_seed=3)
    assert NoiseConfig(**given.model_dump(mode="json")) == given
    # Hashes and checkpoints of runs without a device do not depend on how one would be compiled.
    assert NoiseConfig(readout=0.1).model_dump(mode="json") == {
        "one_qubit": 0.0, "two_qubit": 0.0, "amplitude_damping": 0.0, "readout": 0.1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ({"device": "statevector"}, r"^noise.device: statevector has no noise; choose a device$"),
        ({"device": "fake_manilla"}, r"^noise.device: backend 'fake_manilla' .*fake_manila"),
    ],
)
def test_unknown_devices_are_refused_before_anything_is_loaded(noise, message, monkeypatch):
    # Without an account, and without asking for one over the network.
    monkeypatch.setattr(
        "hqnn_jax.hardware.backends.open_service", _raise(HardwareError("no account"))
    )
    for section in ("model", "evaluation"):
        config = run_config()
        if section == "model":
            circuit = config.model.circuit.model_copy(update={"noise": NoiseConfig(**noise)})
            model = config.model.model_copy(update={"circuit": circuit})
            config = config.model_copy(update={"model": model})
        else:
            evaluation = config.evaluation.model_copy(update={"noise": NoiseConfig(**noise)})
            config = config.model_copy(update={"evaluation": evaluation})
        with pytest.raises(HardwareError, match=message) as caught:
            load_setup(config, QUIET)
        assert "\n" not in str(caught.value)


def test_circuits_that_do_not_fit_the_device_are_refused():
    with pytest.raises(HardwareError, match=r"^noise.device: .* has 6 qubits, fake_manila only 5"):
        build_middle_circuit(model_config(num_qubits=6))


def _raise(error):
    def raising(*arguments):
        raise error

    return raising


# --- training ---


def run_config(**circuit) -> Config:
    return Config.model_validate(
        {
            "dataset": {
                "name": "synthetic_cells",
                "resolution": 28,
                "synthetic": {"train_images": 48, "validation_images": 16, "test_images": 24},
            },
            "model": {
                "backbone": {"name": "five_layer_cnn", "image_size": 16},
                "processor": {"widths": []},
                "circuit": {**CIRCUIT, **circuit},
            },
            "training": {"epochs": 1, "batch_size": 16, "learning_rate": {"circuit": 0.01}},
            "evaluation": {"bootstrap_samples": 100, "explained_images": 0},
        }
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with the noise of a device: its stage, its variables and its stored predictions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HQNN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        config = run_config(noise=MANILA)
        folder = RunFolder(tmp_path_factory.mktemp("noisy") / "run")
        train(config, folder, resume=False, progress=QUIET)
        stages = Stages(load_setup(config, QUIET))
        chosen = choose_checkpoint(stages, folder, config.seed)
        with np.load(folder.predictions) as arrays:
            return chosen.stage, chosen.state.evaluated, dict(arrays)


def in_parts(model, variables, inputs):
    """The circuit's weights, its features and its outputs, and the class probabilities."""
    module = nnx.merge(model.evaluation_graph, variables.params, variables.batch_stats, copy=True)
    features = module.angles(inputs)
    outputs = module.middle(features)
    shares = jax.nn.softmax(module.classify(outputs))
    weights = np.asarray(module.middle.weights[...], float)
    return weights, np.asarray(features, float), np.asarray(outputs), np.asarray(shares)


def test_a_trained_run_is_the_device_simulated(trained):
    stage, variables, predictions = trained
    images = stage.task.preprocessing(jnp.asarray(stage.setup.inputs["test"]))
    weights, features, outputs, shares = in_parts(stage.task.model, variables, images)
    np.testing.assert_allclose(shares, predictions["test_probabilities"][0], atol=1e-5)
    ideal = radhi2025(3, 2)
    compiled = compile_for(ideal, open_backend("fake_manila"))
    noisy = values(noisy_circuit(compiled), weights, features)
    np.testing.assert_allclose(outputs, noisy, atol=1e-5)
    exact = values(ideal, weights, features)
    assert np.abs(outputs - exact).max() > 0.02

    measured = estimate(compiled, weights, features, shots=20_000, seed=11)

    def deviations(expected):
        return np.abs(measured.values - expected) / measured.standard_errors

    assert deviations(outputs).max() < 4.5
    assert 0.6 < np.sqrt(np.mean(deviations(outputs) ** 2)) < 1.4
    assert deviations(exact).max() > 6
    # The step moved the weights from where they began.
    initial = stage.setup.initial_model(stage.setup.config.seed)[1].params["middle"]["weights"]
    assert np.abs(weights - np.asarray(initial)).max() > 1e-3


def test_a_model_trained_without_noise_is_evaluated_with_a_devices(trained):
    stage, variables, predictions = trained
    config = run_config()
    evaluation = config.evaluation.model_copy(update={"noise": NoiseConfig(**MANILA)})
    setup = replace(stage.setup, config=config.model_copy(update={"evaluation": evaluation}))
    model, _ = setup.initial_model(config.seed)
    task = setup.evaluation_task(replace(stage.task, model=model))
    images = stage.task.preprocessing(jnp.asarray(setup.inputs["test"]))
    *_, shares = in_parts(task.model, variables, images)
    np.testing.assert_allclose(shares, predictions["test_probabilities"][0], atol=1e-5)
    *_, ideal = in_parts(model, variables, images)
    assert np.abs(ideal - shares).max() > 1e-4
