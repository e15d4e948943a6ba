"""Learning rates per parameter group, schedules, weight decay and clipping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.config import ScheduleConfig, TrainingConfig
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.training.optimizers import make_optimizer, make_plateau, make_schedule

PARAMS = {
    "backbone": {"kernel": jnp.full((2, 3), 4.0)},
    "middle": {"weights": jnp.full((2, 2), 4.0)},
    "logits": {"kernel": jnp.full((3, 2), 4.0), "bias": jnp.full(2, 4.0)},
}
LABELS = {
    "backbone": {"kernel": "backbone"},
    "middle": {"weights": "circuit"},
    "logits": {"kernel": "classical", "bias": "classical"},
}
RATES = {"backbone": 1e-4, "circuit": 1e-2, "classical": 1e-3}


def first_update(config: TrainingConfig, gradient: float = 1.0):
    optimizer = make_optimizer(config, LABELS, steps_per_epoch=10)
    gradients = jax.tree.map(lambda p: jnp.full_like(p, gradient), PARAMS)
    updates, _ = optimizer.update(gradients, optimizer.init(PARAMS), PARAMS)
    return updates


def test_each_group_moves_with_its_own_learning_rate():
    updates = first_update(TrainingConfig(optimizer="adam", learning_rate=RATES))
    # Adam's first step is the learning rate, whatever the gradient.
    np.testing.assert_allclose(updates["backbone"]["kernel"], -1e-4, rtol=1e-4)
    np.testing.assert_allclose(updates["middle"]["weights"], -1e-2, rtol=1e-4)
    np.testing.assert_allclose(updates["logits"]["bias"], -1e-3, rtol=1e-4)


def test_weight_decay_reaches_kernels_but_neither_biases_nor_the_circuit():
    config = TrainingConfig(optimizer="adamw", learning_rate=RATES, weight_decay=0.5)
    updates = first_update(config)
    np.testing.assert_allclose(updates["backbone"]["kernel"], -1e-4 * (1 + 0.5 * 4), rtol=1e-4)
    np.testing.assert_allclose(updates["logits"]["kernel"], -1e-3 * (1 + 0.5 * 4), rtol=1e-4)
    np.testing.assert_allclose(updates["logits"]["bias"], -1e-3, rtol=1e-4)
    np.testing.assert_allclose(updates["middle"]["weights"], -1e-2, rtol=1e-4)


def test_clipping_uses_the_norm_over_all_groups():
    config = TrainingConfig(optimizer="adam", clip_norm=1.0, learning_rate=RATES)
    optimizer = make_optimizer(config, LABELS, steps_per_epoch=10)
    state = optimizer.init(PARAMS)
    gradients = jax.tree.map(lambda p: jnp.full_like(p, 100.0), PARAMS)
    _, state = optimizer.update(gradients, state, PARAMS)
    first_moments = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
        if ".mu" in jax.tree_util.keystr(path)
    ]
    total = np.sqrt(sum(float(jnp.sum(m**2)) for m in first_moments))
    assert total == pytest.approx(0.1 * 1.0, rel=1e-5)  # (1 - b1) times the clipped norm


def test_cosine_schedule_with_warmup():
    config = TrainingConfig(
        epochs=5, schedule={"name": "cosine", "warmup_epochs": 1, "final_factor": 0.1}
    )
    schedule = make_schedule(config, steps_per_epoch=10)
    values = np.array([float(schedule(step)) for step in range(51)])
    assert 0 < values[0] < 0.2
    assert np.all(np.diff(values[:11]) > 0)
    assert values[10] == pytest.approx(1.0)
    assert values[30] == pytest.approx(0.55)  # half way down from 1 to 0.1
    assert values[50] == pytest.approx(0.1)
    assert np.all(np.diff(values[10:]) < 0)


def test_constant_schedule():
    schedule = make_schedule(TrainingConfig(), steps_per_epoch=10)
    assert float(schedule(0)) == float(schedule(10_000)) == 1.0


def test_plateau_halves_the_rate_after_its_patience(small_study):
    study = small_study(
        schedule={"name": "reduce_on_plateau", "factor": 0.5, "patience": 2}, epochs=20
    )
    state, scales = study.state, []
    for loss in [1.0, 0.9, 0.95, 0.94, 0.93, 0.5, 0.6, 0.6]:
        state = study.task.end_epoch(state, jnp.float32(loss))
        scales.append(float(state.plateau.scale))
    assert scales == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25]


def test_plateau_rule_rests_under_other_schedules(small_study):
    study = small_study(schedule={"name": "cosine", "patience": 1})
    state = study.state
    for _ in range(5):
        state = study.task.end_epoch(state, jnp.float32(1.0))
    assert float(state.plateau.scale) == 1.0
    assert make_plateau(study.task.training) is not None


def test_more_steps_than_can_be_counted_are_refused():
    most = TrainingConfig(epochs=100000, schedule=ScheduleConfig(warmup_epochs=100000))
    make_schedule(most, steps_per_epoch=21474)(jnp.int32(0))
    for config in (TrainingConfig(epochs=100000), most.model_copy(update={"epochs": 1})):
        with pytest.raises(ConfigurationError, match="steps are more than can be"):
            make_schedule(config, steps_per_epoch=21475)
