"""The supervised-contrastive loss against its definition, written out term by term."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.training.contrastive import supervised_contrastive


def by_definition(vectors: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    losses = []
    for i in range(len(labels)):
        others = [a for a in range(len(labels)) if a != i]
        positives = [p for p in others if labels[p] == labels[i]]
        if not positives:
            continue
        total = sum(np.exp(unit[i] @ unit[a] / temperature) for a in others)
        terms = [np.log(np.exp(unit[i] @ unit[p] / temperature) / total) for p in positives]
        losses.append(-np.mean(terms))
    return float(np.mean(losses))


@pytest.mark.parametrize("temperature", [0.1, 0.7])
def test_equals_its_definition(temperature):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(7, 3)).astype(np.float32)
    labels = np.array([0, 1, 0, 2, 1, 0, 3])  # 2 and 3 have no partner
    ours = supervised_contrastive(jnp.asarray(vectors), jnp.asarray(labels), temperature)
    assert float(ours) == pytest.approx(by_definition(vectors, labels, temperature), rel=1e-4)


def test_is_finite_with_its_gradient_for_zero_vectors_and_lonely_classes():
    vectors = jnp.zeros((4, 3)).at[0, 0].set(1.0)
    value, gradient = jax.value_and_grad(supervised_contrastive)(vectors, jnp.arange(4), 0.1)
    assert float(value) == 0.0
    assert bool(jnp.isfinite(gradient).all())
    value, gradient = jax.value_and_grad(supervised_contrastive)(
        vectors, jnp.array([0, 0, 1, 1]), 0.1
    )
    assert float(value) > 0
    assert bool(jnp.isfinite(gradient).all())


def test_descending_it_gathers_the_classes():
    labels = jnp.array([0, 1, 0, 1, 1, 0])
    vectors = jax.random.normal(jax.random.key(0), (6, 4))
    gradient = jax.jit(jax.grad(lambda v: supervised_contrastive(v, labels, 0.5)))
    for _ in range(200):
        vectors -= 0.5 * gradient(vectors)
    unit = vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    same = labels[:, None] == labels
    assert float(cosine[same].min()) > float(cosine[~same].max()) + 0.5


def test_changes_training_only_where_it_has_weight(small_study):
    plain, weighted = small_study(), small_study(contrastive_weight=0.5)
    states = []
    for study in (plain, weighted):
        order = study.task.epoch_order(study.state, study.data.rows)
        states.append(
            jax.jit(study.task.train_step)(
                study.state, study.data.train, order, study.data.class_weights
            )
        )
    circuit = [state.variables.params["middle"]["weights"] for state in states]
    assert bool(jnp.any(circuit[0] != circuit[1]))
    logits = [state.variables.params["logits"]["kernel"] for state in states]
    np.testing.assert_array_equal(logits[0], logits[1])  # it acts before the classifier
