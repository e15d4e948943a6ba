"""What a configuration names by `package.module:name`: imported, tried, and told of in one line."""

import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from flax import nnx

from hqnn_jax.ablation.plan import Arm
from hqnn_jax.config import (
    AugmentationConfig,
    BackboneConfig,
    CircuitConfig,
    Config,
    EvaluationConfig,
    ModelConfig,
    TrainingConfig,
)
from hqnn_jax.config.loading import validated
from hqnn_jax.data.augmentation import augment
from hqnn_jax.data.dataset import Split, make_dataset
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.evaluation.metrics import compute_metrics, mean_over_seeds
from hqnn_jax.evaluation.own_metrics import own_metrics
from hqnn_jax.models.middles import build_circuit, build_middle
from hqnn_jax.own_parts import source_digest
from hqnn_jax.runs.own_checks import check_calls, check_imports
from hqnn_jax.training.losses import loss_function

PARTS = """
import jax, jax.numpy as jnp, numpy as np, optax
from flax import nnx
from hqnn_jax.backbones import Backbone
from hqnn_jax.models.controls import Control

number = 7
def error(labels, probabilities): return float(np.mean(probabilities.argmax(1) != labels))
def spread(labels, probabilities): return 10 * np.ptp(labels)
def undefined(labels, probabilities): return np.nan
def two_only(labels, probabilities):
    if len(set(labels)) < probabilities.shape[1]: raise ValueError("a class is missing")
    return 0.5 * len(labels)
def listing(labels, probabilities): return [1, 2]
def nothing(labels): return 1.0
def boom(*arguments): raise RuntimeError("no\\nway")
def leaving(*arguments): raise SystemExit(3)
def squares(logits, targets): return jnp.sum((logits - targets) ** 2, axis=-1)
def mean_square(logits, targets): return jnp.mean((logits - targets) ** 2)
def whole(logits, targets): return jnp.argmax(logits, axis=-1)
def darker(key, images): return 0.5 * images
def noisy(key, images): return images + jax.random.normal(key, images.shape)
def cut(key, images): return images[:, 2:, 1:]
def fewer(key, images): return images[:1]
class Flat(Backbone):
    def __init__(self, *, in_channels=3, dtype=jnp.float32, image_size=28, rngs):
        self.num_features = in_channels * image_size**2
    def feature_maps(self, images): return images
    def pool(self, maps, rngs=None): return maps.reshape(len(maps), -1)
class Wrong(Flat):
    def pool(self, maps, rngs=None): return maps.reshape(len(maps), -1)[:, :5]
class Layer(Control):
    def __init__(self, circuit, rngs):
        self.linear = nnx.Linear(circuit.num_features, circuit.num_outputs, rngs=rngs)
    @classmethod
    def for_circuit(cls, circuit, *, rngs): return cls(circuit, rngs)
    @property
    def last(self): return self.linear.kernel
    def preactivations(self, features): return self.linear(features)
class Narrow(Layer):
    def preactivations(self, features): return self.linear(features)[:, :1]
class Broken(Layer):
    def preactivations(self, features): return undefined_name
"""


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path)
    yield path
    monkeypatch.delitem(sys.modules, "mine", raising=False)


@pytest.fixture(scope="module")
def dataset():
    random = np.random.default_rng(0)
    splits = {
        name: Split(
            random.integers(0, 256, (6, 8, 8, 3), np.uint8), np.arange(6, dtype=np.int32) % 3
        )
        for name in ("train", "validation", "test")
    }
    return make_dataset(
        splits, name="drawn", class_names=("a", "b", "c"), licence="", citation="", synthetic=True
    )


def config(**sections):
    return Config(model=ModelConfig(backbone=BackboneConfig(name="compact")), **sections)


def with_loss(name):
    return config(training=TrainingConfig(loss=name))


def with_augmentation(name):
    return config(training=TrainingConfig(augmentation=AugmentationConfig(function=name)))


def with_metric(name):
    return config(evaluation=EvaluationConfig(metrics=(name,)))


def with_backbone(name):
    return Config(model=ModelConfig(backbone=BackboneConfig(name=name, image_size=8)))


WHERE = {
    with_loss: "training.loss",
    with_augmentation: "training.augmentation.function",
    with_metric: "evaluation.metrics",
}


@pytest.mark.parametrize("section", WHERE)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere:f", "cannot import 'f' from 'nowhere'"),
        ("mine:absent", "cannot import 'absent' from 'mine'"),
        ("mine:number", "'number' in 'mine' is int; expected a function of"),
        ("mine:nothing", "'mine:nothing': too many positional arguments; expected a function of"),
    ],
)
def test_what_is_not_there_or_takes_other_arguments(section, name, message):
    with pytest.raises(ConfigurationError, match=f"^{WHERE[section]}: {message}") as caught:
        check_imports(section(name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "name", "message"),
    [
        (with_loss, "boom", "raised RuntimeError: no way; expected a function"),
        (with_loss, "leaving", "raised SystemExit: 3; expected"),
        (with_loss, "mean_square", r"returned float32 of shape \(\) for logits of shape \(4, 3\)"),
        (with_loss, "whole", r"returned int32 of shape \(4,\) for logits"),
        (with_loss, "listing", "returned list for logits"),
        (with_augmentation, "boom", "raised RuntimeError: no way"),
        (with_augmentation, "fewer", r"returned float32 of shape \(1, 8, 8, 3\) for images of"),
        (with_metric, "boom", "raised RuntimeError: no way"),
        (with_metric, "listing", "returned list; expected a function"),
        (with_backbone, "boom", "'mine:boom' raised TypeError: .*; expected a class"),
        (with_backbone, "Layer", "raised TypeError: .*; expected a class derived from"),
        (with_backbone, "Wrong", r"returned shape \(2, 5\) for images of .*\(2, 192\)"),
        (with_backbone, "absent", "cannot import 'absent' from 'mine'"),
        (with_backbone, "number", "'number' in 'mine' is int; expected a class derived from"),
    ],
)  # fmt: skip
def test_what_fails_or_returns_something_else(section, name, message, dataset):
    with pytest.raises(ConfigurationError, match=message) as caught:
        check_calls(section(f"mine:{name}"), dataset, 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "name"),
    [
        (with_loss, "squares"), (with_augmentation, "cut"), (with_augmentation, "noisy"),
        (with_metric, "error"), (with_metric, "undefined"), (with_backbone, "Flat"),
    ],
)  # fmt: skip
def test_what_is_as_it_should_be(section, name, dataset):
    check_imports(section(f"mine:{name}"))
    check_calls(section(f"mine:{name}"), dataset, 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"training": {"loss": "cross_entropi"}}, "did you mean 'cross_entropy'"),
        ({"evaluation": {"metrics": ["accuracy"]}}, "expected the import path of a function"),
        ({"evaluation": {"metrics": ["a:b", "a:b"]}}, "expected each metric once"),
        ({"training": {"augmentation": {"function": "a b:c"}}}, "expected the import path"),
    ],
)
def test_wrong_names_are_refused_before_anything_is_imported(data, message):
    data = {"model": {"backbone": {"name": "compact"}}, **data}
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        validated(data, (), Config, "here")


def test_a_middle_of_ones_own():
    def middle(name):
        model = ModelConfig(
            backbone=BackboneConfig(name="compact"),
            middle=f"mine:{name}",
            circuit=CircuitConfig(num_qubits=2, num_layers=1),
        )
        circuit = build_circuit(model.circuit)
        return build_middle(model, circuit, rngs=nnx.Rngs(0)), circuit

    layer, circuit = middle("Layer")
    assert layer(jnp.ones((3, circuit.num_features))).shape == (3, circuit.num_outputs)
    for name, message in {
        "Narrow": r"returned shape \(256, 1\) for inputs of shape \(256, 2\); expected one",
        "Broken": "'mine:Broken' raised NameError: .*undefined_name.*; expected a class derived",
        "error": "'mine:error' is no class of that kind; expected a class derived from",
        "absent": "model.middle: cannot import 'absent' from 'mine'",
    }.items():
        with pytest.raises(ConfigurationError, match=message):
            middle(name)


def test_a_loss_and_an_augmentation_are_used():
    logits, targets = jnp.array([[1.0, -2.0]]), jnp.array([[0.9, 0.1]])
    np.testing.assert_allclose(loss_function("mine:squares")(logits, targets), [0.01 + 4.41], 1e-6)
    images = jax.random.uniform(jax.random.key(1), (2, 8, 8, 3))
    key = jax.random.key(0)
    darker = augment(key, images, AugmentationConfig(function="mine:darker"))
    np.testing.assert_allclose(darker, 0.5 * images)
    # Its key is none that the other operations use: they draw what they drew without it.
    turned = AugmentationConfig(horizontal_flip=True)
    alone = augment(key, 0.5 * images, turned)
    both = augment(key, images, turned.model_copy(update={"function": "mine:darker"}))
    np.testing.assert_array_equal(both, alone)
    resized = augment(key, images, AugmentationConfig(function="mine:cut"), output_size=16)
    assert resized.shape == (2, 16, 16, 3)


def test_own_metrics_have_intervals_and_deviations():
    random = np.random.default_rng(3)
    labels = np.r_[np.zeros(30, np.int32), np.ones(20, np.int32), [2]]
    names = [f"mine:{name}" for name in ("error", "two_only", "undefined", "spread")]
    seeds = []
    for _ in range(2):
        probabilities = random.dirichlet([1, 1, 1], len(labels)).astype(np.float32)
        seeds.append(
            compute_metrics(
                probabilities, labels, "abc", bootstrap_samples=200, own=own_metrics(names)
            )
        )
    found = seeds[0]
    error, two_only, undefined, spread = names
    assert found[error] == pytest.approx(1 - found["accuracy"])
    low, high = found["intervals"][error]
    assert low < found[error] < high
    assert found["interval_methods"][error] == "bootstrap"
    # Resamples without the third class raise, and are left out.
    assert (found[two_only], found["intervals"][two_only]) == (25.5, None)
    assert (found[undefined], found["intervals"][undefined]) == (None, None)
    assert found["intervals"][spread] == [10, 20]
    mean = mean_over_seeds(seeds)
    assert mean["standard_deviation"][error] == pytest.approx(
        abs(seeds[0][error] - seeds[1][error]) / np.sqrt(2)
    )
    assert mean["standard_deviation"][undefined] is None
    with pytest.raises(ConfigurationError, match="'mine:boom' raised RuntimeError"):
        compute_metrics(probabilities, labels, "abc", own=own_metrics(["mine:boom"]))


def test_stored_results_do_not_know_of_keys_that_came_later():
    plain = config()
    text = plain.to_yaml()
    assert not {"loss: ", "metrics:", "function:"} & set(text.split("\n"))
    for line in text.splitlines():
        assert not line.strip().startswith(("loss:", "metrics:", "function:"))
    changed = config(
        training=TrainingConfig(
            loss="mine:squares", augmentation=AugmentationConfig(function="mine:cut")
        ),
        evaluation=EvaluationConfig(metrics=("mine:error",)),
    )
    assert validated(yaml.safe_load(changed.to_yaml()), (), Config, "") == changed
    keys = [
        Arm("a", "a", {}, each).key
        for each in (plain, with_metric("mine:error"), with_loss("mine:squares"))
    ]
    assert keys[0] == keys[1] != keys[2]


def test_the_text_of_a_module_has_a_digest(mine):
    loss_function("mine:squares")
    first = source_digest("mine:Flat")
    assert len(first) == 64
    assert source_digest("nowhere:Flat") == ""
