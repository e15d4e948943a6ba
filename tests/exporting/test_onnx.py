"""Models in ONNX, read by ONNX Runtime."""

import dataclasses
import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxpr_as_fun

from hqnn_jax import load
from hqnn_jax.errors import ExportError
from hqnn_jax.exporting.formats import export_model
from hqnn_jax.exporting.pairs import in_pairs
from hqnn_jax.exporting.plain import plain
from hqnn_jax.trained.zoo import zoo_names
from tests.circuits.engines.examples import UNOPTIMISED
from tests.small_models import small_model

CIRCUITS = {
    "data once": {"name": "radhi2025", "num_qubits": 2, "num_layers": 1},
    "re-uploading": {
        "name": "composed",
        "num_qubits": 2,
        "num_layers": 2,
        "embedding": "angle_x",
        "ansatz": "strongly_entangling",
        "reuploading": True,
        "measurement": "xyz",
    },
    "noisy": {
        "name": "radhi2025",
        "num_qubits": 2,
        "num_layers": 1,
        "noise": {"one_qubit": 0.02, "readout": 0.01},
    },
}


@functools.cache
def with_circuit(name, engine="auto"):
    return small_model({"circuit": {**CIRCUITS[name], "engine": engine}})


def test_plain_operations_say_the_same_without_complex_numbers_or_calls():
    model = with_circuit("re-uploading")
    like = jax.ShapeDtypeStruct((5, 8, 8, 3), jnp.uint8)
    program = plain(lambda images: model.function()(model.variables, images), like)
    real = jax.make_jaxpr(lambda images: in_pairs(program, images))(like)
    dtypes = {var.aval.dtype for eqn in real.eqns for var in eqn.outvars}
    assert not [dtype for dtype in dtypes if jnp.issubdtype(dtype, jnp.complexfloating)]
    called = {"jit", "custom_jvp_call", "custom_vjp_call", "read_once", "batched_tensor_product"}
    assert not called & {eqn.primitive.name for eqn in real.eqns}
    images = np.random.default_rng(2).integers(0, 256, like.shape, np.uint8)
    evaluate = jax.jit(jaxpr_as_fun(real), compiler_options=UNOPTIMISED)
    (found,) = evaluate(images)
    np.testing.assert_allclose(found, model.predict(images).probabilities, atol=1e-5)


def test_a_model_is_converted():
    pytest.importorskip("jax2onnx")
    assert export_model(with_circuit("data once"), "onnx").difference < 1e-5


def test_what_cannot_be_converted_is_named_and_nothing_is_returned():
    pytest.importorskip("jax2onnx")
    with pytest.raises(ExportError, match=r"onnx: operation '.*' on complex numbers"):
        export_model(with_circuit("data once"), "onnx", engine="pennylane")


@pytest.mark.slow
def test_the_engine_that_can_be_converted_is_named():
    pytest.importorskip("jax2onnx")
    with pytest.raises(ExportError, match="with --engine pauli_transfer the model can be exported"):
        export_model(with_circuit("data once", "pennylane"), "onnx")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "engine"),
    [
        *(("data once", engine) for engine in ("statevector", "unitary", "pauli_transfer")),
        ("re-uploading", "statevector"),
        ("noisy", "auto"),
    ],
)
def test_every_engine_but_the_reference_is_converted(name, engine):
    pytest.importorskip("jax2onnx")
    assert export_model(with_circuit(name), "onnx", engine=engine).difference < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo_names())
def test_every_shipped_model_is_exported(name):
    pytest.importorskip("jax2onnx")
    model = load(name)
    assert export_model(model, "onnx").difference < 1e-4
    eight = model.record.model_copy(update={"views": "dihedral"})
    assert export_model(dataclasses.replace(model, record=eight), "onnx").difference < 1e-4


@pytest.mark.slow
def test_an_efficientnet_is_exported():
    pytest.importorskip("jax2onnx")
    backbone = {"name": "efficientnet_b0", "image_size": 32}
    assert export_model(small_model({"backbone": backbone}), "onnx").difference < 1e-4
