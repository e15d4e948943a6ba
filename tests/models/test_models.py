"""The hybrid classifier: parameter groups and counts, arms, shared initial values, own circuits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hqnn_jax.backbones.build import build_backbone
from hqnn_jax.circuits import CIRCUITS
from hqnn_jax.config import BACKBONE_NAMES, BackboneConfig, CircuitConfig, ModelConfig
from hqnn_jax.config.loading import load_config
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.models.classifier import HybridNetwork
from hqnn_jax.models.controls import MatchedLayer
from hqnn_jax.models.groups import count_parameters, parameter_groups
from hqnn_jax.models.middles import build_circuit
from hqnn_jax.models.pure import Model
from tests.test_config import CONFIGS

FEATURES = np.random.default_rng(3).normal(size=(7, 9)).astype(np.float32)


def build(key: int = 0, num_features: int = 9, num_classes: int = 5, **options):
    config = ModelConfig(**{"backbone": {"name": "compact"}, **options})
    module = HybridNetwork(
        config,
        backbone=None,
        num_features=num_features,
        num_classes=num_classes,
        key=jax.random.key(key),
    )
    return Model.split(module)


@pytest.mark.parametrize("middle", ["quantum", "matched", "none"])
def test_every_parameter_has_exactly_one_group(middle):
    _, variables = build(middle=middle)
    groups = parameter_groups(variables.params, middle)
    assert jax.tree.structure(groups) == jax.tree.structure(variables.params)
    counts = count_parameters(variables.params, middle)
    sizes = [leaf.size for leaf in jax.tree.leaves(variables.params)]
    assert counts["total"] == sum(sizes)
    assert counts["backbone"] + counts["circuit"] + counts["classical"] == sum(sizes)
    assert counts["circuit"] == (24 if middle == "quantum" else 0)


def test_an_unknown_part_is_an_error_not_a_default():
    _, variables = build()
    with pytest.raises(ValueError, match=r"without a group.*extra"):
        parameter_groups({**variables.params, "extra": {}}, "quantum")


def test_radhi2025_has_the_layers_of_the_paper():
    config = load_config(CONFIGS / "radhi2025_bloodmnist.yaml").model
    module = HybridNetwork(
        config, backbone=None, num_features=1280, num_classes=8, key=jax.random.key(0)
    )
    _, variables = Model.split(module)
    shapes = {
        jax.tree_util.keystr(path): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables.params)
    }
    kernels = [shape for path, shape in shapes.items() if "kernel" in path]
    expected = [(1280, 512), (512, 256), (256, 64), (64, 8)]  # processor
    expected += [(6, 8), (8, 64), (64, 32), (32, 8)]  # readout, then three dense layers
    assert sorted(kernels) == sorted(expected)
    assert shapes["['middle']['weights']"] == (4, 6)
    assert [dropout.rate for dropout in module.processor.dropouts] == [0.4, 0.3, 0.2, 0.0]


def test_first_features_reach_the_circuit_and_the_others_are_dropped():
    options = {
        "processor": {"widths": [8], "batch_norm": False},
        "feature_selection": "first",
        "feature_scaling": "none",
    }
    model, variables = build(**options)
    kernel = variables.params["processor"]["linears"][0]["kernel"]
    gradient = jax.grad(lambda v: jnp.sum(model.apply(v, jnp.asarray(FEATURES)) ** 2))(
        variables
    ).params["processor"]["linears"][0]["kernel"]
    assert kernel.shape == (9, 8)
    np.testing.assert_array_equal(gradient[:, 4:], 0)
    assert np.any(np.asarray(gradient[:, :4]) != 0)


def test_too_few_features_for_the_circuit_are_refused():
    with pytest.raises(ConfigurationError, match=r"model\.processor\.widths.*at least 4.*got 3"):
        build(processor={"widths": [3]}, feature_selection="first")


def test_arms_share_the_initial_values_of_their_common_parts():
    _, quantum = build(middle="quantum")
    _, matched = build(middle="matched")
    _, none = build(middle="none")
    for part in ("processor", "projection"):
        for other in (matched, none):
            jax.tree.map(np.testing.assert_array_equal, quantum.params[part], other.params[part])
    # Same shape where the middle has the circuit's number of outputs.
    jax.tree.map(np.testing.assert_array_equal, quantum.params["logits"], matched.params["logits"])
    _, other_seed = build(key=1)
    with pytest.raises(AssertionError):
        jax.tree.map(
            np.testing.assert_array_equal,
            quantum.params["projection"]["kernel"],
            other_seed.params["projection"]["kernel"],
        )


@pytest.mark.parametrize("scaling", ["tanh", "standardised_tanh", "none"])
def test_angles_are_scaled_as_configured(scaling):
    model, variables = build(middle="none", feature_scaling=scaling)
    huge = jnp.asarray(1e4 * FEATURES)
    identity = jnp.zeros((4, 5)).at[:4, :4].set(jnp.eye(4))
    logits = {"kernel": identity, "bias": jnp.zeros(5)}
    params = {**variables.params, "logits": logits}
    angles = model.apply(type(variables)(params, variables.batch_stats), huge)[:, :4]
    if scaling == "none":
        assert float(jnp.abs(angles).max()) > 10
    else:
        assert float(jnp.abs(angles).max()) <= np.pi / 2 + 1e-5


def test_training_and_evaluation_differ_only_by_dropout_and_statistics():
    model, variables = build(processor={"widths": [6], "dropout": 0.5, "batch_norm": True})
    inputs = jnp.asarray(FEATURES)
    one, _, statistics = model.apply_training(variables, inputs, jax.random.key(0))
    two, _, _ = model.apply_training(variables, inputs, jax.random.key(1))
    again, _, _ = model.apply_training(variables, inputs, jax.random.key(0))
    assert np.any(np.asarray(one) != np.asarray(two))
    np.testing.assert_array_equal(one, again)
    before = variables.batch_stats["processor"]["norms"][0]["mean"]
    assert np.any(np.asarray(statistics["processor"]["norms"][0]["mean"]) != np.asarray(before))
    np.testing.assert_array_equal(model.apply(variables, inputs), model.apply(variables, inputs))


@pytest.mark.parametrize("name", sorted(CIRCUITS))
def test_matched_control_has_the_size_and_shape_of_its_circuit(name):
    size = CIRCUITS[name]().num_qubits
    circuit = build_circuit(CircuitConfig(name=name, num_qubits=size, num_layers=4))
    layer = MatchedLayer.for_circuit(circuit, rngs=nnx.Rngs(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(layer, nnx.Param)))
    assert abs(count - circuit.num_weights) <= 0.1 * circuit.num_weights
    shape = jax.eval_shape(layer, jnp.zeros((2, circuit.num_features))).shape
    assert shape == (2, circuit.num_outputs)


def test_matched_control_is_bounded_like_expectation_values():
    circuit = CIRCUITS["radhi2025"]()
    layer = MatchedLayer.for_circuit(circuit, rngs=nnx.Rngs(0))
    outputs = layer(jnp.asarray(100 * FEATURES[:, :4]))
    assert outputs.shape == (7, 6)
    assert float(jnp.abs(outputs).max()) <= 1


def test_a_control_that_cannot_be_matched_is_an_error():
    with pytest.raises(ConfigurationError, match=r"within 10 %.*closest has"):
        build(middle="matched", circuit={"name": "radhi2025", "num_qubits": 6, "num_layers": 1})


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_every_backbone_of_the_configuration_can_be_built(name):
    config, lengths = BackboneConfig(name=name, image_size=32), []

    def features(key):
        backbone = build_backbone(config, in_channels=1, key=key)
        lengths.append(backbone.num_features)
        model, variables = Model.split(backbone)
        return model.apply(variables, jnp.zeros((2, 32, 32, 1)))

    # Shapes are enough: to draw the weights takes seconds.
    assert [jax.eval_shape(features, jax.random.key(0)).shape] == [(2, n) for n in lengths]


OWN_CIRCUIT = """
import pennylane as qml
from hqnn_jax.circuits import Circuit

def mine(num_qubits, num_layers):
    def function(features, weights):
        for q in range(num_qubits):
            qml.RX(features[q], q)
        for layer in range(num_layers):
            for q in range(num_qubits):
                qml.RY(weights[layer, q], q)
        return [qml.expval(qml.Z(q)) for q in range(num_qubits)]
    return Circuit.from_function(function, num_qubits=num_qubits, num_features=num_qubits,
                                 weights_shape=(num_layers, num_qubits))

def wrong(num_qubits, num_layers):
    return num_qubits

def other_arguments(qubits):
    return None

def raising(num_qubits, num_layers):
    raise RuntimeError("boom\\nand more")

def leaving(num_qubits, num_layers):
    raise SystemExit(3)

def leaving_later(num_qubits, num_layers):
    return Circuit.from_function(lambda x, w: exit(4), num_qubits=num_qubits, num_features=0,
                                 weights_shape=())

constant = 5
"""


def test_own_circuit_by_import_path(tmp_path, monkeypatch):
    (tmp_path / "my_circuits.py").write_text(OWN_CIRCUIT)
    monkeypatch.syspath_prepend(tmp_path)
    circuit = build_circuit(CircuitConfig(name="my_circuits:mine", num_qubits=3, num_layers=2))
    # RX then RY twice: <Z> = cos(x) cos(sum of angles).
    outputs = circuit.to_jax()(jnp.asarray([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]), FEATURES[:, :3])
    expected = np.cos(FEATURES[:, :3]) * np.cos([0.5, 0.7, 0.9])
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    for name, text in [
        ("my_circuits:absent", "cannot import 'absent'"),
        ("no_such_module:mine", "cannot import"),
        ("my_circuits:wrong", "returned int"),
        ("my_circuits:other_arguments", "does not accept num_qubits=3"),
    ]:
        with pytest.raises(ConfigurationError, match=text):
            build_circuit(CircuitConfig(name=name, num_qubits=3, num_layers=2))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("raising", "'my_circuits:raising' raised RuntimeError for num_qubits=3.*: boom and more;"),
        ("leaving", "'my_circuits:leaving' raised SystemExit for num_qubits=3, num_layers=2.*: 3;"),
        ("leaving_later", "'my_circuits:leaving_later' raised SystemExit .*: 4;"),
        ("constant", "'constant' in 'my_circuits' is int; expected a function"),
    ],
)
def test_own_circuit_that_raises_or_exits(tmp_path, monkeypatch, function, message):
    (tmp_path / "my_circuits.py").write_text(OWN_CIRCUIT)
    monkeypatch.syspath_prepend(tmp_path)
    name = f"my_circuits:{function}"
    with pytest.raises(ConfigurationError, match=message) as caught:
        build_circuit(CircuitConfig(name=name, num_qubits=3, num_layers=2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import sys\nsys.exit('bye')", "the module raised SystemExit: bye"),
        ("raise RuntimeError('no\\ndevice')", "the module raised RuntimeError: no device"),
        ("def mine(:\n", "the module raised SyntaxError: "),
        ("mine = 1 / 0", "the module raised ZeroDivisionError: division by zero"),
        ("import no_such_module", "No module named 'no_such_module'; expected `package"),
    ],
)
def test_module_that_raises_or_exits(tmp_path, monkeypatch, source, message):
    (tmp_path / "my_module_at_fault.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match=message) as caught:
        build_circuit(CircuitConfig(name="my_module_at_fault:mine"))
    assert "cannot import 'mine' from 'my_module_at_fault'" in str(caught.value)
    assert "\n" not in str(caught.value)
