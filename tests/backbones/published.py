"""Files as publishers write them, with random tensors, and what is read from them.

In the tests beside this module, names are written down a second time, in the order in which the
publishers' own code makes the layers; a ResNet and a VGG are evaluated a second time from tensors
of these names.
"""

import jax
import numpy as np
from flax import nnx
from safetensors.numpy import save_file

from hqnn_jax.backbones.pretrained import load_pretrained

NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean",
        "running_var": "moving_variance"}  # fmt: skip


def abstract(architecture, **options):
    return nnx.eval_shape(lambda: architecture(**options, rngs=nnx.Rngs(0)))


def tensors_of(module, publisher):
    """Shapes by name that the publisher's files must have for `module`."""
    layout = module.layouts[publisher]
    shapes = {}
    for path, variable in nnx.iter_graph(module):
        if isinstance(variable, nnx.Param | nnx.BatchStat):
            shapes |= layout.source(path, variable.shape).shapes
    return shapes


def random_tensors(shapes, seed=0):
    generator = np.random.default_rng(seed)
    tensors = {}
    for name, shape in shapes.items():
        fan_in = int(np.prod(shape[1:])) or 1
        value = generator.normal(size=shape) / np.sqrt(fan_in if len(shape) > 1 else 10)
        tensors[name] = (1 + np.abs(value) if "var" in name else value).astype(np.float32)
    return tensors


def load(module, folder, tensors, **metadata):
    file = folder / "weights.safetensors"
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    save_file(contiguous, file, metadata=metadata or None)
    normalization = load_pretrained(module, file)
    module.eval()
    return normalization


def variables(module):
    return {path: np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(nnx.state(module))}


def evaluate(module, images):
    graph, state = nnx.split(module)
    return jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, images)


def images(height, width, channels=3):
    return jax.random.normal(jax.random.key(1), (2, height, width, channels))
