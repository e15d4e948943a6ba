"""The layers give what XLA's own convolutions give, on asymmetric images, values and gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from hqnn_jax.backbones.convolutions import convolution, depthwise_convolution
from hqnn_jax.backbones.layers import BatchNorm, Conv, DepthwiseConv

SHAPE = (2, 7, 10, 3)  # one odd and one even side
PADDINGS = ["SAME", "VALID", 1]


def normal(seed, shape, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(seed), shape, dtype)


def library_convolution(images, kernel, stride, padding, groups=1):
    pads = [(padding, padding)] * 2 if isinstance(padding, int) else padding
    return lax.conv_general_dilated(
        images,
        kernel,
        (stride, stride),
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def assert_same_values_and_gradients(ours, reference, images, kernel, tolerance=2e-5):
    shape = jax.eval_shape(reference, images, kernel).shape
    cotangent = normal(9, shape, images.dtype)

    @partial(jax.jit, static_argnums=0)
    def value_and_gradients(function, *inputs):
        value, pullback = jax.vjp(function, *inputs)
        return value, *pullback(cotangent)

    for actual, expected in zip(
        value_and_gradients(ours, images, kernel),
        value_and_gradients(reference, images, kernel),
        strict=True,
    ):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("method", ["lax", "patches"])
def test_convolution_agrees_with_xla(padding, stride, size, method):
    images = normal(0, SHAPE)
    kernel = normal(1, (size, size, 3, 4))
    assert_same_values_and_gradients(
        lambda x, k: convolution(x, k, stride=stride, padding=padding, method=method),
        lambda x, k: library_convolution(x, k, stride, padding),
        images,
        kernel,
    )


@pytest.mark.parametrize(
    ("shape", "size", "stride", "padding"),
    [
        ((2, 2, 5, 3), 3, 1, 1),
        ((2, 4, 7, 3), 3, 2, 1),
        ((2, 1, 2, 3), 3, 1, 2),
        ((2, 4, 4, 3), 5, 1, 2),
    ],
)
def test_convolution_of_small_images_agrees_with_xla_and_avoids_it(shape, size, stride, padding):
    images, kernel = normal(0, shape), normal(1, (size, size, 3, 4))

    def ours(x, k):
        return convolution(x, k, stride=stride, padding=padding)

    assert "stablehlo.convolution" not in jax.jit(ours).lower(images, kernel).as_text()
    assert_same_values_and_gradients(
        ours, lambda x, k: library_convolution(x, k, stride, padding), images, kernel
    )


@pytest.mark.parametrize("padding", [*PADDINGS, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [3, 4])
def test_depthwise_convolution_agrees_with_xla(padding, stride, size):
    images = normal(0, SHAPE)
    kernel = normal(1, (size, size, 1, 3))
    assert_same_values_and_gradients(
        lambda x, k: depthwise_convolution(x, k, stride=stride, padding=padding),
        lambda x, k: library_convolution(x, k, stride, padding, groups=3),
        images,
        kernel,
    )


def test_depthwise_convolution_honours_float64():
    with jax.enable_x64(True):
        images = normal(0, (2, 7, 10, 3), jnp.float64)
        kernel = normal(1, (3, 3, 1, 3), jnp.float64)
        assert_same_values_and_gradients(
            lambda x, k: depthwise_convolution(x, k, stride=2),
            lambda x, k: library_convolution(x, k, 2, "SAME", groups=3),
            images,
            kernel,
            tolerance=1e-12,
        )


def test_cpu_and_library_branches_are_chosen_by_lowering_platform():
    images, kernel = normal(0, (2, 7, 10, 3)), normal(1, (3, 3, 1, 3))
    traced = jax.jit(depthwise_convolution).trace(images, kernel)
    assert "stablehlo.convolution" not in traced.lower(lowering_platforms=("cpu",)).as_text()
    assert "stablehlo.convolution" in traced.lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize("method", ["lax", "patches"])
def test_convolution_under_vmap_over_kernels_equals_loop(method):
    images, kernels = normal(0, (2, 7, 10, 3)), normal(1, (3, 3, 3, 3, 4))

    def loss(kernel, x):
        return jnp.sin(convolution(x, kernel, stride=2, method=method)).sum()

    together = jax.vmap(jax.value_and_grad(loss), in_axes=(0, None))(kernels, images)
    one_by_one = [jax.value_and_grad(loss)(kernel, images) for kernel in kernels]
    np.testing.assert_allclose(together[0], [value for value, _ in one_by_one], rtol=1e-4)
    np.testing.assert_allclose(
        together[1], jnp.stack([gradient for _, gradient in one_by_one]), rtol=1e-4, atol=1e-5
    )


def test_stride_larger_than_the_kernel_skips_pixels():
    images, kernel = normal(0, (2, 7, 10, 3)), normal(1, (2, 2, 1, 3))
    assert_same_values_and_gradients(
        lambda x, k: depthwise_convolution(x, k, stride=3, padding="VALID"),
        lambda x, k: library_convolution(x, k, 3, "VALID", groups=3),
        images,
        kernel,
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_under_vmap_over_kernels_equals_loop(stride):
    images, kernels = normal(0, (2, 7, 10, 3)), normal(1, (4, 3, 3, 1, 3))

    def loss(kernel, x):
        return jnp.sin(depthwise_convolution(x, kernel, stride=stride)).sum()

    together = jax.jit(jax.vmap(jax.grad(loss, (0, 1)), in_axes=(0, None)))(kernels, images)
    one_by_one = [jax.grad(loss, (0, 1))(kernel, images) for kernel in kernels]
    for batched, looped in zip(together, zip(*one_by_one, strict=True), strict=True):
        np.testing.assert_allclose(batched, jnp.stack(looped), rtol=1e-4, atol=1e-5)


def test_modules_compute_in_their_dtype_with_float32_parameters():
    images = normal(0, (2, 6, 9, 4))
    for layer in (
        Conv(4, 5, 3, use_bias=True, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)),
        DepthwiseConv(4, 3, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)),
    ):
        assert layer(images).dtype == jnp.bfloat16
        gradient = jax.grad(lambda m: m(images).astype(jnp.float32).sum())(layer)
        assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype(jnp.float32)}


def test_conv_bias_is_added_per_output_channel():
    layer = Conv(2, 3, 1, use_bias=True, rngs=nnx.Rngs(0))
    images = normal(0, (1, 2, 3, 2))
    before = layer(images)
    layer.bias[...] = jnp.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(layer(images), before + np.array([1, 2, 3]), rtol=1e-6)


class TestBatchNorm:
    images = 3 + 2 * normal(0, (4, 5, 7, 3)) * jnp.array([1.0, 0.1, 4.0])

    @staticmethod
    def pair():
        ours = BatchNorm(3, momentum=0.9, epsilon=1e-2)
        flax = nnx.BatchNorm(3, momentum=0.9, epsilon=1e-2, rngs=nnx.Rngs(0))
        for layer in (ours, flax):
            layer.scale[...] = jnp.array([0.5, 2.0, -1.0])
            layer.bias[...] = jnp.array([1.0, 0.0, 3.0])
        return ours, flax

    def test_agrees_with_flax_in_training_and_evaluation(self):
        ours, flax = self.pair()
        for _ in range(2):
            np.testing.assert_allclose(ours(self.images), flax(self.images), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(ours.mean[...], flax.mean[...], rtol=1e-5)
        np.testing.assert_allclose(ours.var[...], flax.var[...], rtol=1e-5)
        ours.eval()
        flax.eval()
        np.testing.assert_allclose(ours(self.images), flax(self.images), rtol=1e-4, atol=1e-5)

    def test_gradients_agree_with_flax(self):
        weights = normal(1, self.images.shape)
        gradients = [
            jax.grad(lambda x, layer=layer: (weights * nnx.clone(layer)(x)).sum())(self.images)
            for layer in self.pair()
        ]
        np.testing.assert_allclose(*gradients, rtol=1e-3, atol=1e-4)

    def test_statistics_change_in_training_mode_only(self):
        layer = BatchNorm(3, momentum=0.9, epsilon=1e-3)
        layer(self.images)
        np.testing.assert_allclose(layer.mean[...], 0.1 * self.images.mean((0, 1, 2)), rtol=1e-4)
        np.testing.assert_allclose(
            layer.var[...], 0.9 + 0.1 * self.images.var((0, 1, 2)), rtol=1e-4
        )
        recorded = nnx.to_pure_dict(nnx.state(layer, nnx.BatchStat))
        nnx.view(layer, use_running_average=True)(self.images)
        layer.eval()
        layer(self.images)
        jax.tree.map(
            np.testing.assert_array_equal,
            recorded,
            nnx.to_pure_dict(nnx.state(layer, nnx.BatchStat)),
        )
        layer.train()
        layer(self.images)
        assert not np.array_equal(recorded["mean"], layer.mean[...])

    def test_statistics_stay_float32_for_bfloat16_images(self):
        layer = BatchNorm(3, momentum=0.0, epsilon=1e-3)
        assert layer(self.images.astype(jnp.bfloat16)).dtype == jnp.bfloat16
        assert layer.mean.dtype == jnp.float32
        np.testing.assert_allclose(layer.mean[...], self.images.mean((0, 1, 2)), rtol=1e-2)


@pytest.mark.parametrize("images_axis", [None, 0])
def test_convolutions_of_several_models_are_those_of_each(images_axis):
    shape = (5, 9, 8, 3) if images_axis is None else (4, 5, 9, 8, 3)
    images, kernels = normal(0, shape), normal(1, (4, 3, 3, 3, 2))

    def loss(images, kernel):
        return jnp.sum(convolution(images, kernel, stride=2, padding=1) ** 3)

    both = jax.value_and_grad(loss, argnums=(0, 1))
    together = jax.jit(jax.vmap(both, (images_axis, 0)))(images, kernels)
    for index in range(4):
        own = images if images_axis is None else images[index]
        alone = jax.jit(both)(own, kernels[index])
        for many, one in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(many[index], one, rtol=1e-5, atol=1e-4)
