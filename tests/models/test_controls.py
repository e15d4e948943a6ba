"""The middles of an ablation: variants of the circuit and classical controls in a model."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from flax import nnx

from hqnn_jax.circuits import Circuit, NoiseModel, ReadoutError, analysis, compose, radhi2025
from hqnn_jax.circuits.noise.channels import amplitude_damping, depolarizing
from hqnn_jax.config import (
    CIRCUIT_MIDDLES,
    MIDDLE_NAMES,
    CircuitConfig,
    ModelConfig,
    TrainingConfig,
)
from hqnn_jax.config.noise import NoiseConfig
from hqnn_jax.errors import CircuitError, ConfigurationError
from hqnn_jax.models.classifier import HybridNetwork
from hqnn_jax.models.controls import (
    FourierSeries,
    build_control,
    initial_deviation,
    reference_inputs,
)
from hqnn_jax.models.groups import count_parameters, parameter_groups
from hqnn_jax.models.middles import build_circuit, build_middle_circuit, noise_model
from hqnn_jax.models.pure import Model, Variables
from hqnn_jax.training.state import initial_state
from hqnn_jax.training.step import Examples
from tests.training.tasks import make_task

RADHI = {"name": "radhi2025", "num_qubits": 3, "num_layers": 4}
FEATURES = jnp.asarray(np.random.default_rng(3).normal(size=(7, 5)), jnp.float32)


def model_config(middle: str, **circuit) -> ModelConfig:
    return ModelConfig(
        backbone={"name": "compact"}, processor={"widths": [4]}, middle=middle,
        circuit={**RADHI, **circuit},
    )  # fmt: skip


def classifier(config: ModelConfig, key=None, **options) -> HybridNetwork:
    key = jax.random.key(0) if key is None else key
    return HybridNetwork(config, backbone=None, num_features=5, num_classes=3, key=key, **options)


def middle_of(middle: str, key: int = 0, **circuit):
    module = classifier(model_config(middle, **circuit), jax.random.key(key))
    module.eval()
    return module.middle


@pytest.mark.parametrize(
    ("middle", "trained", "group"),
    [
        ("quantum", 12, "circuit"),
        ("frozen", 0, "circuit"),
        ("unentangled", 12, "circuit"),
        ("product", 9, "circuit"),
        ("matched", 12, "classical"),
        ("fourier", 3 * 27, "classical"),
        ("linear", 12, "classical"),
        ("none", 0, "classical"),
    ],
)
def test_only_trained_parameters_are_counted(middle, trained, group):
    _, variables = Model.split(classifier(model_config(middle)))
    sizes = [leaf.size for leaf in jax.tree.leaves(variables.params.get("middle", {}))]
    assert sum(sizes) == trained
    counts = count_parameters(variables.params, middle)
    rest = {part: tree for part, tree in variables.params.items() if part != "middle"}
    assert counts[group] - count_parameters(rest, middle)[group] == trained
    labels = parameter_groups(variables.params, middle)
    assert set(jax.tree.leaves(labels.get("middle", {}))) == ({group} if trained else set())


def test_the_table_above_has_every_middle():
    (parameters,) = [
        mark.args[1]
        for mark in test_only_trained_parameters_are_counted.pytestmark
        if mark.name == "parametrize"
    ]
    assert [middle for middle, _, _ in parameters] == list(MIDDLE_NAMES)


@pytest.mark.parametrize("middle", ["frozen", "unentangled"])
def test_circuits_start_with_the_weights_of_the_quantum_arm(middle):
    quantum, other = (middle_of(name, key=2).weights[...] for name in ("quantum", middle))
    np.testing.assert_array_equal(quantum, other)
    assert np.any(middle_of(middle, key=3).weights[...] != quantum)


def test_frozen_weights_stay_bit_for_bit_and_the_others_are_trained():
    config = model_config("frozen")
    model, variables = Model.split(classifier(config))
    quantum_model, quantum = Model.split(classifier(model_config("quantum")))
    np.testing.assert_array_equal(
        model.apply(variables, FEATURES), quantum_model.apply(quantum, FEATURES)
    )
    options = TrainingConfig(batch_size=7, optimizer="adamw", weight_decay=0.1, average_decay=0.9)
    task = make_task(model, variables, options, middle=config.middle, steps=3)
    state = initial_state(
        variables, task.optimizer, task.plateau, jax.random.key(1), keep_average=True
    )
    batch = Examples(FEATURES, jnp.asarray([0, 1, 2, 0, 1, 2, 0]))
    step = jax.jit(task.train_batch)
    for _ in range(12):
        state = step(state, batch, jnp.ones(3))
    assert set(state.variables.batch_stats) == {"processor", "middle"}
    for found in (state.variables, state.average):
        np.testing.assert_array_equal(
            found.batch_stats["middle"]["weights"], variables.batch_stats["middle"]["weights"]
        )
        moved = jax.tree.map(lambda a, b: np.any(a != b), found.params, variables.params)
        assert all(jax.tree.leaves(moved))


@pytest.mark.parametrize(
    ("middle", "noise"), [("matched", None), ("fourier", None), ("linear", {"two_qubit": 0.2})]
)
def test_controls_start_with_the_scale_of_the_ideal_circuit(middle, noise):
    control, quantum = middle_of(middle, key=1, noise=noise), middle_of("quantum", key=1)
    inputs = reference_inputs(3)
    assert inputs.shape == (256, 3)
    assert 1.4 < float(jnp.abs(inputs).max()) <= np.pi / 2
    outputs = np.asarray(quantum(inputs), float)
    expected = np.sqrt(np.mean((outputs - outputs.mean(0)) ** 2))
    assert 0.02 < expected < 0.9
    assert float(initial_deviation(control(inputs))) == pytest.approx(expected, rel=1e-3)


def test_a_scale_out_of_reach_is_approached():
    """Outputs up to 5 in size, while those of a matched layer stay below 1."""

    def function(features, weights):
        qml.RX(features[0], 0)
        qml.RX(features[1] + 0 * weights[0], 1)
        return [qml.expval(5 * qml.Y(0)), qml.expval(5 * qml.Y(1))]

    circuit = Circuit.from_function(function, num_qubits=2, num_features=2, weights_shape=(4,))
    matched = build_control("matched", circuit, rngs=nnx.Rngs(params=0))
    assert 0.95 < float(initial_deviation(matched(reference_inputs(2)))) < 1


def test_outputs_without_any_variation_leave_finite_controls():
    def function(features, weights):
        qml.RZ(features[0], 0)
        return qml.expval(qml.Z(0))

    circuit = Circuit.from_function(function, num_qubits=1, num_features=1, weights_shape=(2,))
    for middle in ("matched", "linear"):
        control = build_control(middle, circuit, rngs=nnx.Rngs(params=0))
        outputs = control(reference_inputs(1))
        assert np.all(np.isfinite(outputs))
        assert float(initial_deviation(outputs)) < 2e-3


@pytest.mark.parametrize("middle", ["matched", "fourier"])
def test_seeds_built_together_are_those_built_alone(middle):
    config = model_config(middle)
    keys = jax.random.split(jax.random.key(5), 3)
    together = jax.vmap(lambda key: Model.split(classifier(config, key))[1])(keys)
    _, alone = Model.split(classifier(config, keys[1]))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-5, atol=1e-6), together, alone
    )


def wave_basis(degree: int) -> np.ndarray:
    """exp(i k x), k = -degree … degree, as rows of coefficients on the series' basis."""
    rows = np.zeros((2 * degree + 1, 2 * degree + 1), complex)
    rows[degree, 0] = 1
    for k in range(1, degree + 1):
        for sign in (1, -1):
            rows[degree + sign * k, k] = 1 + k
            rows[degree + sign * k, degree + k] = sign * 1j * (1 + k)
    return rows


@pytest.mark.parametrize(
    "circuit",
    [radhi2025(3, 2), compose(2, 2, reuploading=True, measurement="zz")],
    ids=["once", "reuploading"],
)
def test_a_fourier_series_can_be_the_circuit_itself(circuit):
    weights = circuit.init_weights(jax.random.key(8))
    spectrum = analysis.fourier_spectrum(circuit, weights)
    found = np.asarray(spectrum.coefficients)
    for axis, degree in enumerate(spectrum.frequencies.degree, start=1):
        found = np.moveaxis(np.tensordot(found, wave_basis(degree), (axis, 0)), -1, axis)
    np.testing.assert_allclose(found.imag, 0, atol=1e-5)
    series = FourierSeries.for_circuit(circuit, rngs=nnx.Rngs(params=0))
    assert series.coefficients.shape == found.shape
    series.coefficients[...] = jnp.asarray(found.real, jnp.float32)
    features = np.random.default_rng(1).uniform(-3, 4, (6, circuit.num_features))
    features = features.astype(np.float32)
    expected = circuit.to_jax("statevector")(weights, features)
    np.testing.assert_allclose(series(jnp.asarray(features)), expected, atol=1e-5)


def test_frequencies_that_are_no_whole_numbers():
    def function(features, weights):
        qml.RY(1.5 * features[0] + weights[0], 0)
        return qml.expval(qml.Z(0))

    circuit = Circuit.from_function(function, num_qubits=1, num_features=1, weights_shape=(1,))
    series = FourierSeries.for_circuit(circuit, rngs=nnx.Rngs(params=0))
    series.coefficients[...] = jnp.asarray([[0.5, 2.0, 0.0]])
    x = jnp.asarray([[0.3], [2.0]])
    np.testing.assert_allclose(series(x), 0.5 + np.cos(1.5 * np.asarray(x)), atol=1e-6)


def test_circuits_without_a_fourier_series_of_their_own_are_errors():
    def weighted(features, weights):
        qml.RY(weights[0] * features[0], 0)
        return qml.expval(qml.Z(0))

    trained = Circuit.from_function(weighted, num_qubits=1, num_features=1, weights_shape=(1,))
    for circuit, message in [
        (compose(2, 1, embedding="zz"), r"not a linear function"),
        (compose(2, 1, embedding="amplitude"), r"not a linear function"),
        (trained, r"depend on its weights"),
        (
            compose(4, 20, ansatz="basic_entangler", reuploading=True),
            r"4 x 41 x 41 x 41 x 41 = 11303044 coefficients",
        ),
    ]:
        with pytest.raises(ConfigurationError, match=f"model.middle 'fourier'.*{message}"):
            FourierSeries.for_circuit(circuit, rngs=nnx.Rngs(params=0))


@pytest.mark.parametrize("middle", ["unentangled", "product"])
def test_circuits_without_a_variant_are_errors_of_the_configuration(middle):
    parts = {"name": "composed", "embedding": "amplitude"}
    with pytest.raises(ConfigurationError, match=f"model.middle '{middle}'.*amplitudes"):
        build_middle_circuit(model_config(middle, **parts))


def test_the_circuit_that_is_evaluated():
    noise = {"one_qubit": 0.02, "readout": 0.1}
    circuits = {m: build_middle_circuit(model_config(m, noise=noise)) for m in MIDDLE_NAMES}
    assert {m for m, circuit in circuits.items() if circuit is not None} == set(CIRCUIT_MIDDLES)
    assert circuits["quantum"].gates == circuits["frozen"].gates
    assert "CNOT" not in {gate.name for gate in circuits["unentangled"].gates}
    assert circuits["product"].weights_shape == (3, 3)
    for middle in CIRCUIT_MIDDLES:
        assert circuits[middle].noise.readout == ReadoutError(0.1, 0.1)
    layer = middle_of("product", noise=noise)
    angles = FEATURES[:, :3]
    np.testing.assert_allclose(
        layer(angles), circuits["product"].to_jax()(layer.weights[...], angles), atol=1e-6
    )


def test_noise_is_that_of_the_noise_model():
    config = NoiseConfig(one_qubit=0.01, two_qubit=0.05, amplitude_damping=0.03, readout=0.08)
    circuit = build_circuit(CircuitConfig(**RADHI, noise=config))
    damping = amplitude_damping(0.03)
    expected = radhi2025(3, 4).with_noise(
        NoiseModel(
            one_qubit=(depolarizing(0.01), damping),
            two_qubit=(depolarizing(0.05, 2), damping.on((0,)), damping.on((1,))),
            gates={("CNOT", (1, 2)): (depolarizing(0.05, 2), damping.on((1,)), damping.on((2,)))},
            readout=ReadoutError(p1_given_0=0.08, p0_given_1=0.08),
        )
    )
    weights = circuit.init_weights(jax.random.key(0))
    found, ideal = (c.to_jax()(weights, FEATURES[:, :3]) for c in (circuit, radhi2025(3, 4)))
    np.testing.assert_allclose(found, expected.to_jax()(weights, FEATURES[:, :3]), atol=1e-6)
    assert float(jnp.abs(found - ideal).max()) > 0.05
    assert noise_model(NoiseConfig()) is None
    assert build_circuit(CircuitConfig(**RADHI, noise=NoiseConfig())).noise is None


def test_trained_arrays_are_evaluated_under_other_noise_and_shots():
    _, variables = Model.split(classifier(model_config("frozen")))
    noisy = model_config("frozen", noise={"two_qubit": 0.1, "readout": 0.05})
    exact_model, other = Model.split(classifier(noisy))
    jax.tree.map(np.testing.assert_array_equal, variables, other)
    model, sampled = Model.split(classifier(noisy, shots=40))
    assert jax.tree.structure(sampled) == jax.tree.structure(variables)
    # Without processing behind the circuit, so that the logits are its outputs.
    params = {**variables.params, "logits": {"kernel": jnp.eye(3), "bias": jnp.zeros(3)}}
    variables = Variables(params, variables.batch_stats)
    evaluate = jax.jit(jax.vmap(model.apply, (None, None, 0)))
    estimates = evaluate(variables, FEATURES, jax.random.split(jax.random.key(2), 500))
    assert float(jnp.abs(estimates).max()) <= 1
    np.testing.assert_allclose(estimates * 20, np.round(estimates * 20), atol=1e-4)
    exact = np.asarray(exact_model.apply(variables, FEATURES))
    errors = np.sqrt((1 - exact**2) / (40 * 500))
    assert np.all(np.abs(estimates.mean(0) - exact) < 5 * errors)
    np.testing.assert_allclose(estimates.std(0), errors * np.sqrt(500), rtol=0.25)
    with pytest.raises(ValueError, match="40 shots, which take a key"):
        model.apply(variables, FEATURES)
    # A key does no harm where nothing is drawn.
    np.testing.assert_array_equal(
        exact_model.apply(variables, FEATURES, jax.random.key(0)),
        exact_model.apply(variables, FEATURES),
    )


def test_an_engine_that_cannot_follow_noise_is_an_error():
    with pytest.raises(CircuitError, match="ideal circuits only"):
        classifier(model_config("quantum", noise={"readout": 0.1}, engine="unitary"))


def test_a_fourier_series_learns_a_circuit_with_adam():
    import optax

    circuit = compose(3, 2, reuploading=True)
    weights = circuit.init_weights(jax.random.key(3))
    inputs = jax.random.uniform(jax.random.key(4), (200, 3), minval=-1.5, maxval=1.5)
    targets = circuit.to_jax()(weights, inputs)
    graph, params = nnx.split(build_control("fourier", circuit, rngs=nnx.Rngs(params=1)))
    optimizer = optax.adam(1e-3)

    @jax.jit
    def train(params):
        def loss(params):
            return jnp.mean((nnx.merge(graph, params)(inputs) - targets) ** 2)

        def step(carry, _):
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params)
            updates, state = optimizer.update(gradient, state)
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, optimizer.init(params)), length=200)[1]

    losses = train(params)
    assert losses[-1] < 0.2 * losses[0]
    assert np.all(np.diff(losses[:50]) < 0)
