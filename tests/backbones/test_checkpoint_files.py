"""HDF5 files as Keras writes them; what cannot be read says so on one line."""

import sys

import numpy as np
import pytest

from hqnn_jax.backbones.checkpoint_files import open_checkpoint
from hqnn_jax.errors import PretrainedWeightsError

KERNEL = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
BIAS = np.arange(4, dtype=np.float16)


@pytest.fixture
def write(tmp_path):
    """Return `write(datasets)`: the path of an .h5 file with these arrays."""
    h5py = pytest.importorskip("h5py")

    def write(datasets):
        path = tmp_path / "weights.h5"
        with h5py.File(path, "w") as file:
            for name, value in datasets.items():
                file[name] = value
        return path

    return write


@pytest.mark.parametrize(
    ("kernel", "bias"),
    [
        ("conv1_conv/conv1_conv/kernel:0", "conv1_conv/conv1_conv/bias:0"),
        ("conv1_conv/conv1_conv_W_1:0", "conv1_conv/conv1_conv_b_1:0"),
        ("model_weights/resnet50/conv1_conv/kernel:0", "model_weights/resnet50/conv1_conv/bias:0"),
    ],
    ids=["applications", "oldest", "whole model"],
)
def test_tensors_are_named_by_layer_and_variable(write, kernel, bias):
    moment = "optimizer_weights/Adam/conv1_conv/kernel/m:0"
    with open_checkpoint(write({kernel: KERNEL, bias: BIAS, moment: KERNEL})) as checkpoint:
        assert checkpoint.shapes == {"conv1_conv/kernel": (1, 1, 3, 4), "conv1_conv/bias": (4,)}
        np.testing.assert_array_equal(checkpoint.read("conv1_conv/kernel"), KERNEL)
        assert checkpoint.read("conv1_conv/bias").dtype == np.float16


def refusal(path):
    with pytest.raises(PretrainedWeightsError) as caught, open_checkpoint(path):
        pass
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_keras_3_files_without_layer_names_are_refused(write):
    path = write({"layers/conv2d/vars/0": KERNEL})
    assert "write model.save('FILE.h5') instead" in refusal(path)


def test_truncated_hdf5_is_refused(write):
    path = write({"a/kernel:0": np.zeros((64, 64))})
    path.write_bytes(path.read_bytes()[:-5000])
    assert "cannot be read as HDF5" in refusal(path)


def test_missing_h5py_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    path = tmp_path / "weights.h5"
    path.write_bytes(b"")
    assert 'pip install "hqnn-jax[keras]"' in refusal(path)
