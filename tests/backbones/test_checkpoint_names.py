"""Names and shapes of the tensors in real files: every variable gets the tensor that is meant."""

from functools import partial

import pytest

from hqnn_jax.backbones.efficientnet import EfficientNetB0
from hqnn_jax.backbones.resnet import ResNet
from hqnn_jax.backbones.vgg import VGG16
from tests.backbones.published import (
    abstract,
    tensors_of,
)


@pytest.mark.parametrize(
    ("make", "publisher", "count", "spots"),
    [
        (
            partial(abstract, ResNet, depth=18, num_classes=1000), 0, 102,
            {"conv1.weight": (64, 3, 7, 7), "layer2.0.downsample.0.weight": (128, 64, 1, 1),
             "layer4.1.bn2.running_var": (512,), "fc.weight": (1000, 512)},
        ),
        (
            partial(abstract, ResNet, depth=50, num_classes=1000), 0, 267,
            {"layer1.0.downsample.1.running_mean": (256,), "layer3.5.conv3.weight":
             (1024, 256, 1, 1), "layer4.2.conv2.weight": (512, 512, 3, 3), "fc.bias": (1000,)},
        ),
        (
            partial(abstract, ResNet, depth=50, variant="v1", num_classes=1000), 1, 320,
            {"conv1_conv/kernel": (7, 7, 3, 64), "conv1_conv/bias": (64,),
             "conv2_block1_0_conv/kernel": (1, 1, 64, 256), "conv3_block4_2_bn/gamma": (128,),
             "conv5_block3_3_bn/moving_variance": (2048,), "predictions/kernel": (2048, 1000)},
        ),
        (
            partial(abstract, VGG16, num_classes=1000), 0, 32,
            {"features.0.weight": (64, 3, 3, 3), "features.28.bias": (512,),
             "classifier.0.weight": (4096, 25088), "classifier.3.weight": (4096, 4096),
             "classifier.6.weight": (1000, 4096)},
        ),
        (
            partial(abstract, VGG16, num_classes=1000), 1, 32,
            {"features.26.weight": (512, 512, 3, 3), "pre_logits.fc1.weight": (4096, 512, 7, 7),
             "pre_logits.fc2.weight": (4096, 4096, 1, 1), "head.fc.weight": (1000, 4096)},
        ),
        (
            partial(abstract, VGG16, num_classes=1000), 2, 32,
            {"block1_conv1/kernel": (3, 3, 3, 64), "block5_conv3/bias": (512,),
             "fc1/kernel": (25088, 4096), "predictions/bias": (1000,)},
        ),
        (
            partial(abstract, EfficientNetB0, num_classes=1000), 1, 311,
            {"features.0.0.weight": (32, 3, 3, 3), "features.1.0.block.1.fc1.weight": (8, 32, 1, 1),
             "features.6.3.block.1.0.weight": (1152, 1, 5, 5), "features.8.1.running_mean": (1280,),
             "classifier.1.weight": (1000, 1280)},
        ),
        (
            partial(abstract, EfficientNetB0, num_classes=1000), 2, 311,
            {"stem_conv/kernel": (3, 3, 3, 32), "block1a_dwconv/depthwise_kernel": (3, 3, 32, 1),
             "block2b_se_reduce/bias": (6,), "block6d_expand_bn/gamma": (1152,),
             "block7a_project_conv/kernel": (1, 1, 1152, 320), "top_bn/beta": (1280,)},
        ),
    ],
    ids=["resnet18", "resnet50", "resnet50-keras", "vgg16", "vgg16-timm", "vgg16-keras",
         "efficientnet-torchvision", "efficientnet-keras"],
)  # fmt: skip
def test_files_have_the_tensors_of_their_publisher(make, publisher, count, spots):
    shapes = tensors_of(make(), publisher)
    assert len(shapes) == count
    assert spots.items() <= shapes.items()
