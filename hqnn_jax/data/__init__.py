"""Datasets on the host, and what happens to their images on the device.

`load_dataset` turns a configuration into an `ImageDataset`; `augment`, `resize` and `normalise`
are pure functions for the compiled step.
"""

from hqnn_jax.data.augmentation import augment
from hqnn_jax.data.dataset import ImageDataset, Split, class_weights
from hqnn_jax.data.leakage import SharedImages
from hqnn_jax.data.loading import load_dataset
from hqnn_jax.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, normalise, resize, to_float
from hqnn_jax.data.synthetic_cells import synthetic_cells

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "ImageDataset",
    "SharedImages",
    "Split",
    "augment",
    "class_weights",
    "load_dataset",
    "normalise",
    "resize",
    "synthetic_cells",
    "to_float",
]
