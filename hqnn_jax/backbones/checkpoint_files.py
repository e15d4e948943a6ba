"""Weight files as named arrays: safetensors, and the HDF5 files of Keras Applications."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from hqnn_jax.errors import PretrainedWeightsError, reason_of

HDF5_SUFFIXES = (".h5", ".hdf5")
PICKLE_SUFFIXES = (".pth", ".pt")
FILE_SUFFIXES = (".safetensors", ".keras", *HDF5_SUFFIXES, *PICKLE_SUFFIXES)
"""What tells a file from a repository on the hub."""


@dataclasses.dataclass(frozen=True)
class CheckpointFile:
    """An open weight file.

    Attributes:
        shapes: shape of every tensor by name.
        metadata: what the file says about itself; empty for HDF5.
        read: the array of a name, in the file's dtype.
    """

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]
    read: Callable[[str], np.ndarray]


@contextlib.contextmanager
def open_checkpoint(file: Path) -> Iterator[CheckpointFile]:
    """Open a weight file by its suffix; whatever is neither HDF5 nor a pickle is safetensors.

    Tensors of HDF5 files are named `layer/variable` as in Keras Applications, such as
    `conv1_conv/kernel`.

    Raises:
        PretrainedWeightsError: the file is damaged, of another kind, or a pickle.
    """
    suffix = file.suffix.lower()
    if suffix in PICKLE_SUFFIXES:
        raise PretrainedWeightsError(
            f"{file}: PyTorch pickles can run code and are not read; where torch is installed, "
            f'make a safetensors file of it: python -c "import torch, safetensors.torch as s; '
            f"s.save_file(torch.load('{file}', map_location='cpu', weights_only=True), "
            f"'{file.with_suffix('.safetensors')}')\""
        )
    hdf5 = suffix in HDF5_SUFFIXES
    with contextlib.ExitStack() as stack:
        with _damage_reported(file, hdf5):
            opened = stack.enter_context(_open_hdf5(file) if hdf5 else _open_safetensors(file))

        def read(name: str) -> np.ndarray:
            with _damage_reported(file, hdf5):
                return opened.read(name)

        yield dataclasses.replace(opened, read=read)


@contextlib.contextmanager
def _damage_reported(file: Path, hdf5: bool) -> Iterator[None]:
    try:
        yield
    # h5py reports some damage as RuntimeError or KeyError.
    except (SafetensorError, OSError, RuntimeError, KeyError) as error:
        kind, suffix = ("HDF5", ".h5") if hdf5 else ("safetensors", ".safetensors")
        raise PretrainedWeightsError(
            f"{file}: cannot be read as {kind} ({reason_of(error)}); expected an undamaged "
            f"{suffix} file, download it again"
        ) from error


@contextlib.contextmanager
def _open_safetensors(file: Path) -> Iterator[CheckpointFile]:
    # Unlike numpy, flax knows bfloat16.
    with safe_open(str(file), framework="flax") as opened:
        yield CheckpointFile(
            {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()},  # noqa: SIM118
            opened.metadata() or {},
            lambda name: np.asarray(opened.get_tensor(name)),
        )


@contextlib.contextmanager
def _open_hdf5(file: Path) -> Iterator[CheckpointFile]:
    h5py = _import_h5py(file)
    with h5py.File(file, "r") as opened:
        datasets: dict[str, Any] = {}

        def visit(path: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and not path.startswith("optimizer_weights/"):
                datasets[_keras_name(path, file)] = item

        opened.visititems(visit)
        yield CheckpointFile(
            {name: tuple(dataset.shape) for name, dataset in datasets.items()},
            {},
            lambda name: np.asarray(datasets[name][()]),
        )


def _import_h5py(file: Path) -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise PretrainedWeightsError(
            f"{file}: reading HDF5 needs h5py, which is not installed; "
            'run: python -m pip install "hqnn-jax[keras]"'
        ) from error
    return h5py


def _keras_name(path: str, file: Path) -> str:
    """`layer/variable` of a dataset such as `conv1_conv/conv1_conv/kernel:0`.

    The oldest files, VGG-16's among them, write `block1_conv1/block1_conv1_W_1:0`.
    """
    *groups, variable = path.partition(":")[0].split("/")
    layer = groups[-1] if groups else ""
    if layer == "vars":
        raise PretrainedWeightsError(
            f"{file}: the .weights.h5 format of Keras 3 has no layer names; in Keras, write "
            "model.save('FILE.h5') instead"
        )
    variable = re.sub(rf"^{re.escape(layer)}_W(_\d+)?$", "kernel", variable)
    variable = re.sub(rf"^{re.escape(layer)}_b(_\d+)?$", "bias", variable)
    return f"{layer}/{variable}"
