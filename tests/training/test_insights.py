"""Insights against references written out, and as one program over seeds."""

import re
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from flax import nnx

from hqnn_jax.backbones import Backbone
from hqnn_jax.backbones.checkpoint_layout import ImageNormalization
from hqnn_jax.circuits import Circuit, analysis
from hqnn_jax.config import Config
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.models.classifier import HybridClassifier
from hqnn_jax.models.groups import parameter_groups
from hqnn_jax.models.middles import build_circuit
from hqnn_jax.models.pure import Model, Variables
from hqnn_jax.training import insights as module
from hqnn_jax.training.insights import Insights
from hqnn_jax.training.optimizers import make_optimizer, make_plateau, make_schedule
from hqnn_jax.training.step import Examples, Preprocessing, Task
from tests.training.conftest import NUM_CLASSES, NUM_FEATURES, examples

ALL = (
    "gradients",
    "entangling_capability",
    "expressibility",
    "effective_dimension",
    "fourier_spectrum",
)
KEY = jax.random.key(5)
# As many rows as there are probes at most, so that all are measured whatever the key.
ROWS = jnp.arange(3, 63)
CLASS_WEIGHTS = jnp.asarray([1.0, 2.0, 0.5])
CIRCUIT = {"name": "strongly_entangling", "num_qubits": 3, "num_layers": 2}


@pytest.fixture
def setup():
    """Return `make(insights, circuit, middle, seed, ...)` -> (config, task, variables)."""

    def make(names, circuit=CIRCUIT, middle="quantum", seed=0, backbone=None, **training):
        training = {"batch_size": 16, "label_smoothing": 0.1, "insights": names, **training}
        config = Config(
            model={
                "backbone": {"name": "compact"},
                "processor": {"widths": [7]},
                "circuit": circuit,
                "middle": middle,
            },
            training=training,
        )
        model, variables = Model.split(
            HybridClassifier(
                config.model,
                backbone=backbone,
                num_features=NUM_FEATURES,
                num_classes=NUM_CLASSES,
                key=jax.random.key(seed),
            )
        )
        options = config.training
        labels = parameter_groups(variables.params, middle)
        task = Task(
            model=model,
            preprocessing=Preprocessing(8, 3, ImageNormalization((0.5,), (0.5,))),
            training=options,
            optimizer=make_optimizer(options, labels, 4),
            plateau=make_plateau(options),
            schedule=make_schedule(options, 4),
            steps_per_epoch=4,
        )
        return config, task, variables

    return make


@pytest.fixture
def own_circuit(monkeypatch):
    """Return `use(function, num_qubits, num_features, num_weights)` -> its configuration."""

    def use(function, num_qubits, num_features, num_weights):
        def factory(num_qubits, num_layers):
            del num_layers
            return Circuit.from_function(
                function,
                num_qubits=num_qubits,
                num_features=num_features,
                weights_shape=(num_weights,),
            )

        monkeypatch.setitem(sys.modules, "circuits_of_tests", SimpleNamespace(own=factory))
        return {"name": "circuits_of_tests:own", "num_qubits": num_qubits}

    return use


def measure(config, task, variables, data=None, key=KEY):
    insights = Insights.of(config, task)
    data = examples(70, seed=1) if data is None else data
    found = jax.jit(insights.measure)(variables, data, ROWS, CLASS_WEIGHTS, key)
    return {name: float(value) for name, value in found.items()}


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


def test_gradients_are_those_of_an_explicit_loop(setup):
    config, task, variables = setup(("gradients",))
    data = examples(70, seed=1)
    found = measure(config, task, variables, data)

    def loss(params, rows):
        arrays = Variables(params, variables.batch_stats)
        outputs = task.model.apply_training(arrays, data.inputs[rows], KEY)
        return task.loss(outputs.logits, data.labels[rows], CLASS_WEIGHTS)

    rows_key, _ = jax.random.split(jax.random.split(KEY)[0])
    gradient = jax.jit(jax.grad(loss))
    gradients = []
    for batch in range(module.NUM_BATCHES):
        rows = jax.random.choice(jax.random.fold_in(rows_key, batch), ROWS, (16,), replace=False)
        gradients.append(gradient(variables.params, rows))
    assert set(found) == {
        f"gradient_{kind}/{group}"
        for kind in ("norm", "variance")
        for group in ("circuit", "classical")
    }
    for group in ("circuit", "classical"):
        flat = np.stack(
            [
                np.concatenate(
                    [
                        np.ravel(leaf)
                        for part, tree in g.items()
                        if (part == "middle") == (group == "circuit")
                        for leaf in jax.tree.leaves(tree)
                    ]
                )
                for g in gradients
            ]
        ).astype(np.float64)
        norm = np.linalg.norm(flat.mean(axis=0))
        assert found[f"gradient_norm/{group}"] == pytest.approx(norm, rel=1e-4)
        variance = np.var(flat, axis=0, ddof=1).mean()
        assert found[f"gradient_variance/{group}"] == pytest.approx(variance, rel=1e-4)


def test_minibatches_are_drawn_from_the_rows_that_are_trained_on(setup):
    config, task, variables = setup(ALL)
    data = examples(70, seed=1)
    others = np.setdiff1d(np.arange(70), ROWS)
    spoiled = data._replace(inputs=data.inputs.at[others].set(jnp.nan))
    compiled = jax.jit(Insights.of(config, task).measure)
    found = compiled(variables, data, ROWS, CLASS_WEIGHTS, KEY)
    assert compiled(variables, spoiled, ROWS, CLASS_WEIGHTS, KEY) == found
    other_key = compiled(variables, data, ROWS, CLASS_WEIGHTS, jax.random.key(6))
    for name in ("gradient_norm/classical", "gradient_variance/circuit"):
        assert np.isfinite(found[name])
        assert other_key[name] != found[name]


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


def test_seeds_together_are_as_one_by_one_and_every_name_is_documented(setup):
    config, task, _ = setup(ALL)
    seeds = [setup(ALL, seed=seed)[2] for seed in (0, 7, 8)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *seeds)
    data = [examples(70, seed=1), examples(70, seed=3), examples(70, seed=4)]
    labels = jnp.stack([d.labels for d in data])
    rows = jnp.stack([ROWS, ROWS - 3, ROWS + 2])
    keys = jax.random.split(KEY, 3)
    insights = Insights.of(config, task)
    axes = (0, Examples(None, 0), 0, None, 0)
    shared = Examples(data[0].inputs, labels)
    together = jax.jit(jax.vmap(insights.measure, axes))(stacked, shared, rows, CLASS_WEIGHTS, keys)
    alone = jax.jit(insights.measure)
    for seed in range(3):
        own = Examples(data[0].inputs, labels[seed])
        found = alone(seeds[seed], own, rows[seed], CLASS_WEIGHTS, keys[seed])
        assert found.keys() == together.keys()
        for name, value in found.items():
            assert float(together[name][seed]) == pytest.approx(float(value), rel=2e-3, abs=1e-5)
    for name in together:
        pattern = re.sub(r"\d+$", "K", re.sub("/(circuit|classical)$", "/GROUP", name))
        assert f"`{pattern}`" in Insights.__doc__
    shares = {name: value for name, value in together.items() if "/degree_" in name}
    np.testing.assert_allclose(sum(shares.values()), 1, rtol=1e-5)


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


def test_what_is_measured_depends_on_the_middle(setup):
    def names(config, task, variables):
        insights = Insights.of(config, task)
        arguments = (variables, examples(70, seed=1), ROWS, CLASS_WEIGHTS, KEY)
        return set(jax.eval_shape(insights.measure, *arguments))

    classical = {"gradient_norm/classical", "gradient_variance/classical"}
    assert names(*setup(ALL, middle="matched")) == classical
    chosen = ("gradients", "expressibility")
    assert names(*setup(chosen, middle="frozen")) == {*classical, "expressibility"}
    circuit = {"gradient_norm/circuit", "gradient_variance/circuit"}
    assert names(*setup(chosen)) == {*classical, *circuit, "expressibility"}
    assert names(*setup(())) == set()


class Means(Backbone):
    """A backbone of one matrix on the mean colour."""

    num_features = NUM_FEATURES

    def __init__(self):
        self.linear = nnx.Linear(3, NUM_FEATURES, rngs=nnx.Rngs(params=jax.random.key(3)))

    def feature_maps(self, images):
        return self.linear(images)

    def pool(self, maps, rngs=None):
        return maps.mean(axis=(1, 2))


def test_backbones_have_gradients_too(setup):
    config, task, variables = setup(
        ("gradients",), backbone=Means(), augmentation={"brightness": 0.5}, batch_size=60
    )
    images = jax.random.randint(KEY, (70, 8, 8, 3), 0, 256).astype(jnp.uint8)
    found = measure(config, task, variables, Examples(images, examples(70, seed=1).labels))
    # Every batch has all examples, but each its own augmentation.
    variance = found["gradient_variance/backbone"] * 20
    assert variance / found["gradient_norm/backbone"] ** 2 > 1e-3


def test_insights_that_cannot_be_had(setup, own_circuit):
    large = {"name": "composed", "num_qubits": 13, "num_layers": 1}
    config, task, _ = setup(("gradients", "entangling_capability", "fourier_spectrum"), large)
    message = (
        r"^training\.insights: entangling_capability, fourier_spectrum: expected a circuit of at "
        "most 12 qubits, got 13; leave it out$"
    )
    with pytest.raises(ConfigurationError, match=message):
        Insights.of(config, task)
    assert Insights.of(*setup(("gradients",), large)[:2]).circuit is None
    with pytest.raises(ConfigurationError, match="effective_dimension: 8 training examples"):
        Insights.of(*setup(("effective_dimension",), batch_size=2)[:2])
    no_weights = own_circuit(lambda x, w: (qml.RY(x[0], 0), qml.expval(qml.Z(0)))[-1], 1, 1, 0)
    with pytest.raises(ConfigurationError, match=r"fourier_spectrum: circuit .* has no weights"):
        Insights.of(*setup(("fourier_spectrum",), no_weights)[:2])
