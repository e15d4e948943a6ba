"""Parts of the user's own, tried before anything is computed with them."""

from __future__ import annotations

from hqnn_jax.backbones.build import check_own_backbone
from hqnn_jax.config import Config
from hqnn_jax.data.augmentation import check_own_augmentation, own_function
from hqnn_jax.data.dataset import ImageDataset
from hqnn_jax.evaluation.own_metrics import check_own_metrics, own_metrics
from hqnn_jax.training.losses import check_loss, loss_function


def check_imports(config: Config) -> None:
    """Import what a configuration names, before any image is read.

    Backbone and middle are built by `check_model` and `check_calls`.

    Raises:
        ConfigurationError: for what is not there, or cannot be called as it will be.
    """
    loss_function(config.training.loss)
    own_metrics(config.evaluation.metrics)
    if config.training.augmentation.function is not None:
        own_function(config.training.augmentation.function)


def check_calls(config: Config, dataset: ImageDataset, in_channels: int) -> None:
    """Trace or try them for the shapes of a dataset, before anything is compiled.

    Args:
        in_channels: channels of the images that the backbone is given.

    Raises:
        ConfigurationError: for what raises, or returns something else than it should.
    """
    check_own_backbone(config.model.backbone, in_channels)
    check_loss(config.training.loss, dataset.num_classes)
    check_own_metrics(config.evaluation.metrics, dataset.num_classes)
    if config.training.augmentation.function is not None:
        check_own_augmentation(
            config.training.augmentation.function, dataset.train.images.shape[1:]
        )
