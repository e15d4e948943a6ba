"""Circuits exported with a symbolic batch: one program for batches of any size."""

import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import ENGINES, Circuit, NoiseModel, ReadoutError, depolarizing
from hqnn_jax.circuits.engines import auto, chunking, statevector
from hqnn_jax.circuits.simulation.batch import NOMINAL_BATCH
from tests.circuits.engines.examples import UNOPTIMISED, asymmetric_inputs, make

NOISE = NoiseModel(one_qubit=(depolarizing(0.03),), readout=ReadoutError(0.02, 0.04))


def uploaded_twice(features, weights):
    """Rotations and a phase that read features behind an entangler."""
    qml.RX(features[0], 0)
    qml.RY(weights[0], 1)
    qml.CNOT([0, 1])
    qml.RY(features[1] * weights[1], 1)
    qml.IsingZZ(features[0], [0, 1])
    qml.RX(weights[2], 0)
    return [qml.expval(qml.Y(0)), qml.expval(qml.Z(1) + 0.5 * qml.X(0))]


@functools.cache
def form(name: str) -> Circuit:
    if name == "re-uploading":
        return Circuit.from_function(
            uploaded_twice, num_qubits=2, num_features=2, weights_shape=(3,)
        )
    return make("small").with_noise(NOISE if name == "noisy" else None)


APPLIES = [
    *(("data once", engine) for engine in ENGINES),
    *(("re-uploading", engine) for engine in ENGINES if engine != "unitary"),
    ("noisy", "pauli_transfer"),
]


def exported(function, circuit: Circuit):
    """What is called of a function of (weights, features), through bytes, on any batch."""
    (batch,) = jax.export.symbolic_shape("batch")
    weights = jax.ShapeDtypeStruct(circuit.weights_shape, jnp.float32)
    features = jax.ShapeDtypeStruct((batch, circuit.num_features), jnp.float32)
    made = jax.export.export(jax.jit(function), platforms=("cpu", "cuda"))(weights, features)
    read = jax.export.deserialize(made.serialize())
    return jax.jit(read.call, compiler_options=UNOPTIMISED)


@functools.cache
def expected(name: str):
    circuit = form(name)
    weights, features, _ = asymmetric_inputs(circuit, 17, jnp.float32)
    evaluate = jax.jit(circuit.to_jax("pauli_transfer"), compiler_options=UNOPTIMISED)
    return weights, features, np.asarray(evaluate(weights, features))


@pytest.mark.parametrize(("name", "engine"), APPLIES)
def test_an_exported_circuit_takes_batches_of_any_size(name, engine):
    circuit = form(name)
    weights, features, values = expected(name)
    call = exported(circuit.to_jax(engine), circuit)
    # Compiled once for each size.
    for batch in (1, 17) if engine == "auto" else (17,):
        outputs = call(weights, features[:batch])
        np.testing.assert_allclose(outputs, values[:batch], rtol=0, atol=3e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["everything", "data_at_the_front", "no_data", "no_angle"])
@pytest.mark.parametrize("engine", ["auto", "pennylane", "statevector", "pauli_transfer"])
def test_circuits_of_every_form_with_their_gradients(name, engine):
    circuit = make(name)
    evaluate = circuit.to_jax(engine)

    def everything(weights, features):
        gradients = jax.grad(lambda w, x: evaluate(w, x).sum(), (0, 1))(weights, features)
        return evaluate(weights, features), *gradients

    call = exported(everything, circuit)
    for batch in (1, 3, 17):
        weights, features, _ = asymmetric_inputs(circuit, batch, jnp.float32)
        for ours, theirs in zip(
            call(weights, features), everything(weights, features), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5)


def test_a_batch_that_would_not_fit_is_divided_where_it_runs():
    circuit = form("data once")
    weights, features, values = expected("data once")
    call = exported(chunking.in_chunks(statevector.build(circuit), 4), circuit)
    np.testing.assert_allclose(call(weights, features), values, rtol=0, atol=3e-6)


def test_the_engine_is_chosen_for_the_nominal_batch(monkeypatch):
    circuit, asked = form("data once"), []

    def choose(circuit, batch):
        asked.append(batch)
        return "statevector"

    monkeypatch.setattr(auto, "choose", choose)
    (batch,) = jax.export.symbolic_shape("batch")
    jax.eval_shape(
        auto.build(circuit),
        jax.ShapeDtypeStruct(circuit.weights_shape, jnp.float32),
        jax.ShapeDtypeStruct((batch, circuit.num_features), jnp.float32),
    )
    assert asked == [1, NOMINAL_BATCH]
