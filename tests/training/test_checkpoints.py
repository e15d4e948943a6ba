"""Checkpoints: exact, atomic, the last and the best, and only for their own configuration."""

import asyncio
import gc
import shutil
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from hqnn_jax.errors import CheckpointError
from hqnn_jax.training.checkpoints import Checkpoints
from hqnn_jax.training.orbax_noise import silence_orbax
from tests.training.conftest import assert_same

DESCRIPTION = {"training": {"epochs": 3, "batch_size": 16}, "seed": 0}


def at_step(state, step: int, shift: float = 0.0):
    variables = jax.tree.map(lambda x: x + shift, state.variables)
    return state._replace(step=jnp.int32(step), variables=variables)


def scores(accuracy: float, loss: float) -> dict[str, float]:
    return {"validation_accuracy": accuracy, "validation_loss": loss}


def test_restored_state_is_bitwise_the_saved_one(small_study, tmp_path):
    state = at_step(small_study(average_decay=0.9).state, 4, shift=0.1)
    with Checkpoints(tmp_path / "c", DESCRIPTION) as checkpoints:
        checkpoints.save(state, scores(0.5, 1.0))
    like = small_study(seed=5, average_decay=0.9).state
    with Checkpoints(tmp_path / "c", DESCRIPTION) as checkpoints:
        assert checkpoints.latest_step() == 4
        assert_same(checkpoints.restore(4, like), state)


@pytest.mark.parametrize("interval", [0.0, 1e6])
def test_last_and_best_are_kept(small_study, tmp_path, interval):
    state = small_study().state
    with Checkpoints(tmp_path / "c", DESCRIPTION, interval=interval) as checkpoints:
        for step, accuracy, loss in [(4, 0.6, 1.0), (8, 0.9, 0.5), (12, 0.9, 0.4), (16, 0.7, 0.1)]:
            checkpoints.save(at_step(state, step), scores(accuracy, loss))
        checkpoints.save(at_step(state, 18), None)
        checkpoints.flush()
        assert checkpoints.best_step() == 12  # the higher accuracy, then the lower loss
        assert checkpoints.latest_step() == 18
    kept = {p.name for p in (tmp_path / "c").iterdir() if p.name.isdigit()}
    assert kept == {"12", "18"}


@pytest.mark.parametrize("interval", [0.0, 1e6])
def test_of_equally_good_states_the_first_is_best(small_study, tmp_path, interval):
    state = small_study().state
    with Checkpoints(tmp_path / "c", DESCRIPTION, interval=interval) as checkpoints:
        for step in (4, 8, 12):
            checkpoints.save(at_step(state, step), scores(0.9, 0.5))
        checkpoints.flush()
        assert checkpoints.best_step() == 4
        assert checkpoints.latest_step() == 12


def test_states_waiting_to_be_written_outlive_the_next_step(small_study, tmp_path):
    study = small_study()
    step = jax.jit(study.task.train_step, donate_argnums=0)
    order = study.task.epoch_order(study.state, study.data.rows)
    state = jax.tree.map(jnp.copy, study.state)
    with Checkpoints(tmp_path / "c", DESCRIPTION, interval=1e6) as checkpoints:
        states = []
        for accuracy in (0.5, 0.9, 0.7, 0.6):
            state = step(state, study.data.train, order, study.data.class_weights)
            states.append(jax.tree.map(jnp.copy, state))
            checkpoints.save(state, scores(accuracy, 1.0))
        assert checkpoints.latest_step() == 1  # the first one is written at once
    with Checkpoints(tmp_path / "c", DESCRIPTION) as checkpoints:
        assert (checkpoints.best_step(), checkpoints.latest_step()) == (2, 4)
        assert_same(checkpoints.restore(2, study.state), states[1])
        assert_same(checkpoints.restore(4, study.state), states[3])


def test_empty_folder_has_no_checkpoint(tmp_path):
    with Checkpoints(tmp_path / "c", DESCRIPTION) as checkpoints:
        assert checkpoints.latest_step() is None
        assert checkpoints.best_step() is None


def test_checkpoint_of_another_configuration_is_refused(small_study, tmp_path):
    state = small_study().state
    with Checkpoints(tmp_path / "c", DESCRIPTION) as checkpoints:
        checkpoints.save(at_step(state, 4), scores(0.5, 1.0))
    other = {**DESCRIPTION, "training": {"epochs": 3, "batch_size": 32}}
    with (
        Checkpoints(tmp_path / "c", other) as checkpoints,
        pytest.raises(CheckpointError, match=r"training\.batch_size is 16 there, 32 here"),
    ):
        checkpoints.restore(4, state)


def test_damaged_checkpoint_is_one_line(small_study, tmp_path):
    state = small_study().state
    with Checkpoints(tmp_path / "c", DESCRIPTION) as checkpoints:
        checkpoints.save(at_step(state, 4), scores(0.5, 1.0))
    files = [p for p in (tmp_path / "c" / "4" / "state").rglob("*") if p.is_file()]
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with (
        Checkpoints(tmp_path / "c", DESCRIPTION) as checkpoints,
        pytest.raises(CheckpointError, match="cannot read the checkpoint") as caught,
    ):
        checkpoints.restore(4, state)
    assert "\n" not in str(caught.value)


def halved(content):
    return content[: len(content) // 2]


def with_a_flipped_bit(content):
    # Before the middle: there, the arrays' file is not yet text of the index.
    position = len(content) // 3
    return content[:position] + bytes([content[position] ^ 16]) + content[position + 1 :]


def test_a_damaged_checkpoint_is_never_believed_and_one_line(small_study, tmp_path, capfd):
    state, saved = small_study().state, tmp_path / "saved"
    with Checkpoints(saved, DESCRIPTION) as checkpoints:
        checkpoints.save(at_step(state, 4), scores(0.5, 1.0))
    refused = 0
    for path in sorted(path for path in saved.rglob("*") if path.is_file()):
        for damage in (halved, with_a_flipped_bit) if path.stat().st_size else ():
            folder = tmp_path / "damaged"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(saved, folder)
            damaged = folder / path.relative_to(saved)
            damaged.write_bytes(damage(damaged.read_bytes()))
            try:
                with Checkpoints(folder, DESCRIPTION) as checkpoints:
                    step = checkpoints.best_step()
                    restored = None if step is None else checkpoints.restore(step, state)
            except CheckpointError as error:
                refused += "\n" not in str(error)
            else:
                # Without its metadata it is one that was never completed.
                if restored is not None:
                    assert_same(restored, at_step(state, 4))
    assert refused > 10
    gc.collect()
    assert capfd.readouterr() == ("", "")


def test_checkpoints_of_earlier_versions_have_no_digests(small_study, tmp_path):
    state = small_study().state
    with Checkpoints(tmp_path / "c", DESCRIPTION) as checkpoints:
        checkpoints.save(at_step(state, 4), scores(0.5, 1.0))
    shutil.rmtree(tmp_path / "c" / "4" / "digests")
    with Checkpoints(tmp_path / "c", DESCRIPTION) as checkpoints:
        assert_same(checkpoints.restore(4, state), at_step(state, 4))


ABANDONED = """
async def waiting():
    await asyncio.sleep(1)

async def failing():
    raise OSError("damaged")

async def gathered():
    tasks = [asyncio.ensure_future(c()) for c in (failing, failing, waiting)]
    await asyncio.sleep(0.01)
    tasks[0].exception()

loop = asyncio.new_event_loop()
loop.run_until_complete(gathered())
loop.close()
"""


def abandon_tasks(file):
    exec(compile(ABANDONED, file, "exec"), {"asyncio": asyncio})


def test_only_abandoned_tasks_of_orbax_are_silent(caplog):
    silence_orbax()
    abandon_tasks("/site-packages/orbax/checkpoint/serialization.py")
    gc.collect()
    assert caplog.messages == []
    abandon_tasks("/site-packages/others/checkpoint.py")
    gc.collect()
    assert any("never retrieved" in message for message in caplog.messages)
    assert any("was destroyed but it is pending" in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("owner", "message", "told"),
    [
        (None, "Event loop is closed", False),
        (None, "anything else", True),
        (print, "Event loop is closed", True),
    ],
)
def test_what_is_read_after_the_end_of_a_loop_is_silent(monkeypatch, owner, message, told):
    shown = []
    monkeypatch.setattr(sys, "unraisablehook", shown.append)
    silence_orbax.__wrapped__()
    unraisable = SimpleNamespace(object=owner, exc_value=RuntimeError(message))
    sys.unraisablehook(unraisable)
    assert shown == [unraisable] * told


def test_half_written_checkpoint_is_ignored_and_removed(small_study, tmp_path):
    state = small_study().state
    with Checkpoints(tmp_path / "c", DESCRIPTION) as checkpoints:
        checkpoints.save(at_step(state, 4), scores(0.5, 1.0))
    folder = tmp_path / "c"
    leftover = folder / "8.orbax-checkpoint-tmp-1"
    shutil.copytree(folder / "4", leftover)
    (leftover / "commit_success.txt").unlink(missing_ok=True)
    with Checkpoints(folder, DESCRIPTION) as checkpoints:
        assert checkpoints.latest_step() == 4
        checkpoints.save(at_step(state, 8), scores(0.6, 1.0))
        checkpoints.flush()
        assert checkpoints.latest_step() == 8


def test_a_full_disk_is_noticed_before_writing(small_study, tmp_path, monkeypatch):
    state = small_study().state
    with Checkpoints(tmp_path / "c", DESCRIPTION) as checkpoints:
        checkpoints.save(at_step(state, 4), scores(0.5, 1.0))
        checkpoints.flush()
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
        checkpoints.save(at_step(state, 8), scores(0.6, 1.0))
        with pytest.raises(CheckpointError, match=r"cannot write a checkpoint: .* MiB needed"):
            checkpoints.flush()
        monkeypatch.undo()
        assert checkpoints.latest_step() == 4
        checkpoints.restore(4, state)
