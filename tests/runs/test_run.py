"""What a run says of its folder when the training of a seed ends early."""

import pytest

from hqnn_jax.errors import TrainingError
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.runs.run import saying_where
from hqnn_jax.training.interrupt import Interrupted, SeedInterrupted
from hqnn_jax.training.program import LossNotFinite


def test_a_stopped_seed_is_told_with_the_command_that_goes_on(tmp_path):
    folder = RunFolder(tmp_path)
    with pytest.raises(Interrupted) as told, saying_where(folder):
        raise SeedInterrupted(3, 2)
    assert str(told.value) == (
        "stopped in seed 3 after epoch 2; checkpoint saved; go on with `python -m experiment run "
        f"{tmp_path}/config.yaml --out {tmp_path} --resume`"
    )


def test_a_loss_that_is_not_finite_is_told_with_what_is_kept(tmp_path):
    with pytest.raises(TrainingError) as told, saying_where(RunFolder(tmp_path)):
        raise LossNotFinite(3, 2)
    assert str(told.value) == (
        f"{tmp_path}: seed 3: training loss not finite in epoch 2; the checkpoint of epoch 1 is "
        "kept; lower training.learning_rate or set training.clip_norm"
    )
