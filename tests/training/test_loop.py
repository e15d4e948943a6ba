"""The loop: resuming bitwise, stopping, non-finite losses, and no compilation between epochs."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from hqnn_jax.errors import TrainingError
from hqnn_jax.progress import Progress
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.training import program
from hqnn_jax.training.checkpoints import Checkpoints
from hqnn_jax.training.history import FIGURES, append_record, read_history, trim_history
from hqnn_jax.training.interrupt import Interrupted
from hqnn_jax.training.loop import fit
from hqnn_jax.training.program import compile_program
from tests.training.conftest import assert_same, norm_of_difference

DESCRIPTION = {"seed": 0}


@pytest.fixture(autouse=True)
def step_by_step(monkeypatch):
    """Dispatch every step, as for images on CPU, so that training can be stopped in mid-epoch."""
    monkeypatch.setattr(program, "runs_whole_epochs", lambda data: False)


class Run:
    """One run of a small study in a folder, stopped after a number of polls of `stop`."""

    def __init__(self, study, path):
        self.study = study
        self.folder = RunFolder(path)
        path.mkdir(exist_ok=True)
        self.program = compile_program(study.task, study.state, study.data, 16)

    def __call__(self, *, stop_after: int | None = None):
        polls = 0

        def stop() -> bool:
            nonlocal polls
            polls += 1
            return stop_after is not None and polls >= stop_after

        # The step donates its input; the study's state must survive.
        state = jax.tree.map(jnp.copy, self.study.state)
        with Checkpoints(self.folder.checkpoints(0), DESCRIPTION) as checkpoints:
            latest = checkpoints.latest_step()
            if latest is not None:
                state = checkpoints.restore(latest, state)
            trim_history(self.folder.history, 0, int(state.step) // self.study.task.steps_per_epoch)
            return fit(
                self.program,
                state,
                self.study.data,
                seed=0,
                history=self.folder.history,
                checkpoints=checkpoints,
                progress=Progress(terminal=False),
                stop=stop,
            )

    def history(self):
        return [
            {key: value for key, value in record.items() if key != "seconds"}
            for record in read_history(self.folder.history)
        ]


OPTIONS = {
    "epochs": 4,
    "average_decay": 0.9,
    "schedule": {"name": "reduce_on_plateau", "patience": 1},
}


@pytest.mark.parametrize("stop_after", [1, 3, 4, 5, 7, 11])
def test_a_stopped_and_resumed_run_is_bitwise_an_uninterrupted_one(
    small_study, tmp_path, stop_after
):
    study = small_study(**OPTIONS)
    whole = Run(study, tmp_path / "whole")
    expected = whole()
    parts = Run(study, tmp_path / "parts")
    with pytest.raises(Interrupted, match=r"^stopped in seed 0 after epoch \d; checkpoint saved$"):
        parts(stop_after=stop_after)
    resumed = parts()
    assert_same(resumed, expected)
    assert parts.history() == whole.history()
    assert len(parts.history()) == 4


def test_epochs_that_are_one_program_resume_bitwise_too(small_study, tmp_path, monkeypatch):
    """Features on CPU, and everything on accelerators."""
    study = small_study(**OPTIONS)
    steps = Run(study, tmp_path / "steps")()
    monkeypatch.setattr(program, "runs_whole_epochs", lambda data: True)
    whole = Run(study, tmp_path / "whole")
    expected = whole()
    assert norm_of_difference(expected.variables, steps.variables) < 1e-4
    stopped = Run(study, tmp_path / "stopped")
    with pytest.raises(Interrupted, match="after epoch 2"):
        stopped(stop_after=3)
    assert_same(expected, stopped())
    assert stopped.history() == whole.history()


def test_an_epoch_without_its_checkpoint_is_trained_and_recorded_again(small_study, tmp_path):
    study = small_study(**OPTIONS)
    whole = Run(study, tmp_path / "whole")
    expected = whole()
    parts = Run(study, tmp_path / "parts")
    with pytest.raises(Interrupted):
        parts(stop_after=5)
    # A kill after the record of epoch 2 was written, but before its checkpoint was.
    figures = dict.fromkeys(FIGURES, 99)
    append_record(parts.folder.history, {**figures, "seed": 0, "epoch": 2})
    with parts.folder.history.open("a") as file:
        file.write('{"seed": 0, "epo')
    assert_same(parts(), expected)
    assert parts.history() == whole.history()


def test_another_seed_keeps_its_records(small_study, tmp_path):
    run = Run(small_study(**OPTIONS), tmp_path / "run")
    figures = dict.fromkeys(FIGURES, 0.5)
    append_record(run.folder.history, {**figures, "seed": 3, "epoch": 9})
    run()
    assert [r["seed"] for r in run.history()].count(3) == 1


def test_non_finite_loss_stops_and_keeps_the_last_good_checkpoint(small_study, tmp_path):
    study = small_study(**OPTIONS)
    run = Run(study, tmp_path / "run")
    with pytest.raises(Interrupted):
        run(stop_after=4)  # the first epoch is saved
    poisoned = study.data.train._replace(inputs=study.data.train.inputs.at[3].set(jnp.nan))
    data = dataclasses.replace(study.data, train=poisoned)
    broken = Run(dataclasses.replace(study, data=data), tmp_path / "run")
    with pytest.raises(TrainingError, match=r"^seed 0: training loss not finite in epoch 2; lower"):
        broken()
    with Checkpoints(run.folder.checkpoints(0), DESCRIPTION) as checkpoints:
        restored = checkpoints.restore(checkpoints.latest_step(), study.state)
    assert int(restored.step) == study.task.steps_per_epoch
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(restored.variables))


def test_nothing_is_compiled_between_epochs(small_study, tmp_path):
    run = Run(small_study(**{**OPTIONS, "epochs": 5}), tmp_path / "run")
    run()  # also compiles what surrounds the program, once per process
    shutil_target = Run(small_study(**{**OPTIONS, "epochs": 5}), tmp_path / "again")
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **_: compiled.append(name) if "backend_compile" in name else None
    )
    try:
        shutil_target()
    finally:
        jax.monitoring.clear_event_listeners()
    assert compiled == []
    assert len(shutil_target.history()) == 5
    jax.jit(lambda x: x * 3.25)(1.0)


def test_history_has_every_learning_rate(small_study, tmp_path):
    run = Run(small_study(epochs=2, learning_rate={"circuit": 0.02}), tmp_path / "run")
    run()
    rates = run.history()[0]["learning_rate"]
    assert rates == pytest.approx({"backbone": 1e-3, "circuit": 0.02, "classical": 1e-3})
