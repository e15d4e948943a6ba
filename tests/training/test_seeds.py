"""Seeds trained together are the seeds trained alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.config import Config
from hqnn_jax.errors import TrainingError
from hqnn_jax.progress import Progress
from hqnn_jax.runs.chosen import choose_checkpoint
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.runs.run import train
from hqnn_jax.runs.setup import load_setup
from hqnn_jax.runs.stages import Stages
from hqnn_jax.training.history import read_history
from hqnn_jax.training.interrupt import Interrupted
from hqnn_jax.training.prediction import Predictor, of_seeds
from hqnn_jax.training.program import compile_program
from hqnn_jax.training.seeds import fit_seeds, name_seeds
from hqnn_jax.training.seeds_checkpoint import SeedsCheckpoint
from tests.training.conftest import assert_same

QUIET = Progress(terminal=False)
SEEDS = (5, 6, 7)
CONFIG = {
    "dataset": {
        "name": "synthetic_cells",
        "resolution": 28,
        "synthetic": {"train_images": 100, "validation_images": 30, "test_images": 20},
    },
    "model": {
        "backbone": {"name": "five_layer_cnn", "image_size": 16},
        "processor": {"widths": [8], "dropout": 0.2},
        "circuit": {"name": "radhi2025", "num_qubits": 4, "num_layers": 2},
    },
    "training": {
        "epochs": 2,
        "batch_size": 16,
        "average_decay": 0.9,
        "label_noise": 0.1,
        "class_weights": "inverse_frequency",
        "schedule": {"name": "reduce_on_plateau", "patience": 1},
        "augmentation": {"horizontal_flip": True, "rotation_degrees": 20.0},
    },
    "evaluation": {"bootstrap_samples": 100, "explained_images": 0},
    "seed": 5,
    "seeds": 3,
}


def config_of(**training) -> Config:
    return Config.model_validate({**CONFIG, "training": {**CONFIG["training"], **training}})


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "cache"))


class Together:
    """A study whose seeds are trained in one program."""

    def __init__(self, config, seeds=SEEDS):
        self.setup = load_setup(config, QUIET)
        self.seeds = seeds
        self.task = self.setup.task(*self.setup.initial_model(seeds[0]))
        self.data = self.setup.training_data_of_seeds(seeds)
        self.program = compile_program(self.task, self.states(), self.data, 16)

    def states(self):
        return self.setup.initial_states(self.task, self.seeds)

    def fit(self, choose="best", stop=lambda: False, checkpoint=None, program=None):
        return fit_seeds(
            program or self.program, self.states(), self.data, self.seeds,
            choose=choose, progress=QUIET, stop=stop, checkpoint=checkpoint,
        )  # fmt: skip


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HQNN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield Together(config_of())


HEAD = {
    **CONFIG,
    "model": {
        **CONFIG["model"],
        "backbone": {"name": "five_layer_cnn", "image_size": 16, "frozen": True},
        "feature_scaling": "standardised_tanh",
    },
    "training": {**CONFIG["training"], "augmentation": {}},
}


def largest_difference(left, right) -> float:
    return max(
        float(jnp.abs(a - b).max())
        for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    )


@pytest.mark.parametrize(
    ("sections", "parameters", "outputs"),
    [(HEAD, 1e-5, 1e-5), pytest.param(CONFIG, 5e-3, 1e-3, marks=pytest.mark.slow)],
)
def test_seeds_together_are_the_seeds_alone(sections, parameters, outputs, tmp_path):
    """The ordinary loop with its checkpoints is the independent reference.

    Adam turns the rounding noise of gradients that are almost zero into steps of the learning rate,
    1e-3, so that parameters of a whole network agree less well; order, labels or augmentation of
    another seed would change the loss in its second digit.
    """
    config = Config.model_validate(sections)
    together = Together(config)
    trained = together.fit()
    inputs = together.setup.inputs["test"]
    predictor = Predictor.compile(of_seeds(together.task.predict), trained.variables, inputs, 7)
    probabilities = predictor(trained.variables, inputs)
    folder = RunFolder(tmp_path / "run")
    train(config, folder, resume=False, progress=QUIET)
    stages = Stages(together.setup)
    with np.load(folder.predictions) as stored:
        test_probabilities = stored["test_probabilities"]
    for index, seed in enumerate(SEEDS):
        state = choose_checkpoint(stages, folder, seed).state
        own = jax.tree.map(lambda leaf, index=index: leaf[index], trained.variables)
        assert largest_difference(own.params, state.evaluated.params) < parameters
        alone = test_probabilities[index]
        np.testing.assert_allclose(probabilities[:, index], alone, atol=outputs)
        np.testing.assert_array_equal(probabilities[:, index].argmax(1), alone.argmax(1))
        history = [record for record in trained.history if record["seed"] == seed]
        for record, other in zip(history, read_history(folder.history, seed), strict=True):
            assert record.keys() == other.keys() - {"seconds"}
            assert record["validation_accuracy"] == other["validation_accuracy"]
            assert record["train_loss"] == pytest.approx(other["train_loss"], rel=outputs)
            assert record["learning_rate"] == pytest.approx(other["learning_rate"], rel=1e-6)
        assert trained.best_epochs[index] * together.task.steps_per_epoch == int(state.step)


def test_the_best_epoch_of_each_seed_is_kept(together):
    trained, last = together.fit(), together.fit("last")
    assert last.best_epochs == (2, 2, 2)
    by_seed = {seed: [r for r in trained.history if r["seed"] == seed] for seed in SEEDS}
    for seed, best in zip(SEEDS, trained.best_epochs, strict=True):
        chosen = max(by_seed[seed], key=lambda r: (r["validation_accuracy"], -r["validation_loss"]))
        assert best == chosen["epoch"]


def test_nothing_is_compiled_while_training(together):
    together.fit()
    compiled = []
    listener = lambda name, *_, **__: compiled.append(name)  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        states = together.states()
        compiled.clear()
        fit_seeds(
            together.program, states, together.data, SEEDS,
            choose="best", progress=QUIET, stop=lambda: False,
        )  # fmt: skip
    finally:
        jax.monitoring.clear_event_listeners()
    assert not [name for name in compiled if "backend_compile" in name]


def test_each_seed_has_its_own_rows_and_labels():
    setup = load_setup(config_of(images_per_class=4, label_noise=0.3), QUIET)
    data = setup.training_data_of_seeds(SEEDS)
    assert data.rows.shape == (3, 4 * 8)
    assert not np.array_equal(data.rows[0], data.rows[1])
    assert not np.array_equal(data.train.labels[0], data.train.labels[1])
    true = setup.dataset.train.labels
    for index, seed in enumerate(SEEDS):
        alone = setup.training_data(seed)
        np.testing.assert_array_equal(data.rows[index], alone.rows)
        np.testing.assert_array_equal(data.train.labels[index], alone.train.labels)
        assert np.mean(np.asarray(alone.train.labels) != true) == pytest.approx(0.3, abs=0.01)
        np.testing.assert_array_equal(np.bincount(true[np.asarray(alone.rows)]), 4)
    assert data.train.inputs.shape == setup.inputs["train"].shape
    state = setup.initial_state(setup.task(*setup.initial_model(0)), 0)
    order = setup.task(*setup.initial_model(0)).epoch_order(state, data.rows[0])
    assert sorted(np.asarray(order)) == list(np.asarray(data.rows[0]))


def test_a_diverging_seed_is_named(together):
    states = together.states()
    states = states._replace(
        variables=jax.tree.map(lambda leaf: leaf.at[1].set(jnp.nan), states.variables)
    )
    with pytest.raises(TrainingError, match="seed 6: training loss not finite in epoch 1"):
        fit_seeds(
            together.program, states, together.data, SEEDS,
            choose="best", progress=QUIET, stop=lambda: False,
        )  # fmt: skip


def test_training_can_be_stopped(together):
    with pytest.raises(Interrupted):
        together.fit(stop=lambda: True)


class Killed(Exception):
    pass


def test_killed_training_goes_on_bitwise(together, tmp_path, monkeypatch):
    whole = together.fit()
    path = tmp_path / "0.seeds"
    checkpoint = SeedsCheckpoint(path, interval=0.0)

    def killed_after_the_first_epoch(*args):
        SeedsCheckpoint.save(checkpoint, *args)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", killed_after_the_first_epoch, raising=False)
        with pytest.raises(Killed):
            together.fit(checkpoint=checkpoint)
    steps = []
    program = dataclasses.replace(
        together.program,
        advance=lambda *args: steps.append(1) or together.program.advance(*args),
    )
    resumed = together.fit(checkpoint=SeedsCheckpoint(path), program=program)
    assert len(steps) == together.task.steps_per_epoch
    assert_same(whole.variables, resumed.variables)
    assert (whole.history, whole.best_epochs) == (resumed.history, resumed.best_epochs)
    assert resumed.seconds > 0


def test_a_checkpoint_of_other_seeds_or_a_damaged_one_is_not_used(together, tmp_path):
    path = tmp_path / "0.seeds"
    checkpoint = SeedsCheckpoint(path, interval=0.0)
    whole = together.fit(checkpoint=checkpoint)
    content = path.read_bytes()
    other = Together(config_of(), seeds=(8, 6, 7))
    other.program = together.program
    assert other.fit(checkpoint=SeedsCheckpoint(path)).history[0]["seed"] == 8
    path.write_bytes(content[: len(content) // 2])
    assert together.fit(checkpoint=SeedsCheckpoint(path)).history == whole.history
    checkpoint.delete()
    checkpoint.delete()
    assert not path.exists()


def test_names_of_seeds():
    assert name_seeds((3,)) == "seed 3"
    assert name_seeds((0, 1, 2)) == "seeds 0–2"
    assert name_seeds((0, 2, 5)) == "seeds 0, 2, 5"
