"""Datasets on the host, and what happens to their images on the device.

`load_dataset` turns a configuration into an `ImageDataset`; `augment`, `resize` and `normalise`
are pure functions for the compiled step.
"""

from hqnn_jax.data.augmentation import augment
from hqnn_jax.data.dataset import ImageDataset, Split, class_weights
from hqnn_jax.data.leakage import SharedImages, image_digests
from hqnn_jax.data.loading import load_dataset, load_pool
from hqnn_jax.data.pool import ImagePool
from hqnn_jax.data.preprocessing import normalise, resize, to_float
from hqnn_jax.data.records import RecordImages
from hqnn_jax.data.synthetic_cells import synthetic_cells

__all__ = [
    "ImageDataset",
    "ImagePool",
    "RecordImages",
    "SharedImages",
    "Split",
    "augment",
    "class_weights",
    "image_digests",
    "load_dataset",
    "load_pool",
    "normalise",
    "resize",
    "synthetic_cells",
    "to_float",
]
