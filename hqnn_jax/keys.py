"""Where every random number of a run comes from: one table, and the keys of the streams in it.

A run's seed s gives streams that do not depend on each other, so that changing one thing draws
nothing else anew. Stored results depend on every value here: none may be changed.

| stream | drawn with | decides |
|---|---|---|
| `initial_model` | `key(s)`, 0, split | initial values: of the backbone, of what is behind it |
| `frozen_backbone` | `key(s)` of the first seed | values of a backbone that is never trained |
| `training` | `key(s)`, 1 | everything in training, by the three streams below |
| … `step` | training, step | augmentation and dropout of an optimiser step (split in two) |
| … … `own_augmentation` | augmentation of a step, 2³¹ - 1 | the user's own augmentation |
| … `epoch_order` | training, 2³¹ - 1, epoch | in which order an epoch visits the examples |
| … `insights` | training, 2³¹ - 2 | which examples gradients and circuits are measured with |
| `evaluation` | `key(s)`, 2, split, first image | shots and trajectories of each batch |
| `training_rows` | NumPy `(5001, s, class)` | which images of a class are trained on |
| `label_noise` | NumPy `(5002, s)` | which training labels are wrong, and how |
| `shown_images` | NumPy `0` | which test images a report shows or explains |

`key(s), a` is `fold_in(key(s), a)`. Steps are folded into the key of training without a number of
their own; the other two numbers are ones that no step reaches.

Other seeds, each of its own setting, are used as they are:

| where | drawn with | decides |
|---|---|---|
| `data.splits` | scikit-learn, `dataset.split.seed` | which images are in which split |
| `data.pool` | NumPy, the seed given | which images of a pool are kept |
| `data.synthetic_cells` | `SeedSequence(seed)`, spawned for each split | the images |
| `evaluation.statistics`, `.sign_flips` | NumPy, the seed given | bootstrap samples; signs |
| `evaluation.power` | NumPy `0` | simulated differences |
| `hardware_evaluation.images` | NumPy, `images.seed` | which images are sent |
| `hardware_evaluation.arms` | `key(seed)`, number of the block | shots of the simulated arms |
| `hardware_evaluation.from_run` | NumPy, `fine_tuning.seed` | images to fine-tune on |
| `hardware_evaluation.fine_tuning` | NumPy `[seed, iteration + 1]` | batches |
| … SPSA | `key(seed)`, split | perturbations |
| `experiments.aml2026` | NumPy and scikit-learn, s | which images, and their parts |
| … of a circuit, a network | `key(s)`; `key(s)`, 1 for SPSA | initial values; perturbations |
| `training.patience` | key given, epoch | order of the examples |
| `models.controls`, `training.insights` | `key(0)` | where a circuit is probed |
| `circuits` | `key(0)`, `key(1)`, NumPy `0` | the same |
"""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import Array, Int, Key

Seed = int | Int[Array, ""]

_MODEL, _TRAINING, _EVALUATION = 0, 1, 2
_ORDER, _INSIGHTS = 2**31 - 1, 2**31 - 2
_OWN = 2**31 - 1
_ROWS, _LABELS = 5_001, 5_002


def initial_model(seed: Seed) -> tuple[Key[Array, ""], Key[Array, ""]]:
    """Return the keys of the backbone's initial values, and of those of what is behind it."""
    backbone, head = jax.random.split(jax.random.fold_in(jax.random.key(seed), _MODEL))
    return backbone, head


def frozen_backbone(seed: int) -> Key[Array, ""]:
    """Return the key of a backbone that is never trained."""
    return jax.random.key(seed)


def training(seed: Seed) -> Key[Array, ""]:
    """Return the key that a training state holds."""
    return jax.random.fold_in(jax.random.key(seed), _TRAINING)


def step(key: Key[Array, ""], number: Int[Array, ""]) -> tuple[Key[Array, ""], Key[Array, ""]]:
    """Return the keys of augmentation and of dropout in an optimiser step, from training's."""
    augmentation, dropout = jax.random.split(jax.random.fold_in(key, number))
    return augmentation, dropout


def own_augmentation(key: Key[Array, ""]) -> Key[Array, ""]:
    """Return the key of the user's own augmentation, from that of a step's augmentation."""
    return jax.random.fold_in(key, _OWN)


def epoch_order(key: Key[Array, ""], epoch: Int[Array, ""]) -> Key[Array, ""]:
    """Return the key of the order of an epoch, from that of training."""
    return jax.random.fold_in(jax.random.fold_in(key, _ORDER), epoch)


def insights(key: Key[Array, ""]) -> Key[Array, ""]:
    """Return the key that is measured with in every epoch, from that of training."""
    return jax.random.fold_in(key, _INSIGHTS)


def evaluation(seed: int, split: int) -> Key[Array, ""]:
    """Return the key of the shots on a split, given by its number."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), _EVALUATION), split)


def training_rows(seed: int, class_number: int) -> np.random.Generator:
    """Return what draws the images of a class that are trained on."""
    return np.random.default_rng((_ROWS, seed, class_number))


def label_noise(seed: int) -> np.random.Generator:
    """Return what draws wrong labels."""
    return np.random.default_rng((_LABELS, seed))


def shown_images() -> np.random.Generator:
    """Return what draws the test images that are shown or explained."""
    return np.random.default_rng(0)
