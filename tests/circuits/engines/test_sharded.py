"""States spread over devices, against the engine that holds them whole.

The devices are simulated by a child process: their number is fixed when JAX starts.
"""

import functools
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from jax.sharding import Mesh

from hqnn_jax.circuits import Circuit
from hqnn_jax.circuits.engines import sharded, statevector
from hqnn_jax.circuits.gates import Gate
from hqnn_jax.circuits.simulation.bits import BitMap
from hqnn_jax.circuits.simulation.distributed import LocalEntangler, distribute
from hqnn_jax.circuits.simulation.schedule import schedule
from hqnn_jax.errors import CircuitError

UNOPTIMISED = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}


def everything(features, weights):
    """Every kind of gate on global and local wires, re-uploading, words with X, Y and Z."""
    qml.AngleEmbedding(features, wires=range(5), rotation="Y")
    for layer in range(2):
        for wire in range(6):
            qml.RX(weights[layer, wire, 0], wire)
            qml.RZ(weights[layer, wire, 1], wire)
        for control, target in ((0, 1), (5, 0), (2, 5), (1, 4)):
            qml.CNOT([control, target])
        qml.CZ([1, 4])
        qml.CZ([0, 1])
        qml.SWAP([0, 3])
        qml.S(0)
        qml.T(4)
        qml.Hadamard(1)
        qml.IsingZZ(weights[layer, 0, 2] * features[1], [0, 2])
        qml.AngleEmbedding(features**2, wires=[1, 5, 0, 3, 2], rotation="X")
        qml.CNOT([0, 1])
    return [
        qml.expval(qml.X(0) @ qml.Y(4)),
        qml.expval(qml.Y(0) @ qml.Z(1)),
        qml.expval(qml.Z(0)),
        qml.expval(0.5 * qml.X(5) - 0.2 * qml.Y(1) @ qml.Y(2) @ qml.X(0) + 0.3 * qml.I(0)),
    ]


def deep(num_qubits, num_layers):
    """Real gates, in layers that the compiled program loops over."""

    def function(features, weights):
        qml.AngleEmbedding(features, wires=[num_qubits - 1, 0], rotation="Y")
        for layer in range(num_layers):
            for wire in range(num_qubits):
                qml.RY(weights[layer, wire], wire)
            for wire in range(num_qubits):
                qml.CNOT([wire, (wire + 1) % num_qubits])
            qml.CZ([num_qubits - 1, 0])
        return [qml.expval(qml.Z(wire)) for wire in range(num_qubits)]

    shape = (num_layers, num_qubits)
    return Circuit.from_function(
        function, num_qubits=num_qubits, num_features=2, weights_shape=shape, name="deep"
    )


def everything_circuit():
    return Circuit.from_function(everything, num_qubits=6, num_features=5, weights_shape=(2, 6, 3))


def shallow(features, weights):
    qml.AngleEmbedding(features, wires=range(4), rotation="X")
    qml.CZ([0, 2])
    qml.AngleEmbedding(weights, wires=range(4))
    qml.CNOT([3, 0])
    return [qml.expval(qml.Y(0)), qml.expval(qml.Z(1) @ qml.X(3))]


def shallow_circuit():
    return Circuit.from_function(shallow, num_qubits=4, num_features=4, weights_shape=(4,))


# Circuit, batch, sizes of the mesh's axes (batch, state).
CASES = {
    "everything on 2": (everything_circuit, 3, (1, 2)),
    "everything on 4": (everything_circuit, 3, (1, 4)),
    "deep on 4": (lambda: deep(5, 9), 3, (1, 4)),
    "shallow on 2, batch on 2": (shallow_circuit, 6, (2, 2)),
}


def inputs(circuit, batch, dtype):
    rng = np.random.default_rng(11)
    weights = jnp.asarray(rng.uniform(-4, 5, circuit.weights_shape), dtype)
    features = jnp.asarray(rng.uniform(-2, 3, (batch, circuit.num_features)), dtype)
    return weights, features


def gradient_of(evaluate, num_outputs):
    """Outputs and the gradients of a sum with unequal coefficients, not compiled yet."""

    def loss(weights, features):
        outputs = evaluate(weights, features)
        coefficients = jnp.sin(1.0 + jnp.arange(outputs.size)).reshape(-1, num_outputs)
        return jnp.sum(coefficients * outputs), outputs

    return jax.jit(jax.grad(loss, (0, 1), has_aux=True), compiler_options=UNOPTIMISED)


def mesh_of(batch, state):
    devices = np.array(jax.devices()[: batch * state]).reshape(batch, state)
    return Mesh(devices, ("batch", "state"))


def compute(name):
    """Flat list [outputs, gradient in weights, in features] of a case, in x64."""
    make, batch, shape = CASES[name]
    circuit = make()
    mesh = mesh_of(*shape)
    evaluate = sharded.build(circuit, mesh, "state", "batch" if shape[0] > 1 else None)
    arguments = inputs(circuit, batch, jnp.float64)
    gradients, outputs = gradient_of(evaluate, circuit.num_outputs)(*arguments)
    return [outputs, *gradients]


def largest_array(text):
    """Bytes of the largest array in a compiled program in float32."""
    shapes = re.findall(r"(?:f32|s32|pred|s8|f64)\[([\d,]+)\]", text)
    return max(4 * int(np.prod([int(size) for size in shape.split(",")])) for shape in shapes)


def memory(num_layers):
    """Of the compiled gradient of 14 qubits on 4 devices, in units of a device's part of states.

    Temporary memory, largest array; then the numbers of all-gathers and of all-to-alls.
    """
    circuit, batch = deep(14, num_layers), 40
    evaluate = sharded.build(circuit, mesh_of(1, 4), "state")
    arguments = inputs(circuit, batch, jnp.float32)
    lowered = gradient_of(evaluate, circuit.num_outputs).lower(*arguments)
    compiled = lowered.compile(UNOPTIMISED)
    text = compiled.as_text()
    state = 2**14 * 4 * batch / 4
    return [
        compiled.memory_analysis().temp_size_in_bytes / state,
        largest_array(text) / state,
        text.count(" all-gather"),
        text.count(" all-to-all"),
    ]


def main(path):
    results = {}
    with jax.enable_x64(True):
        for name in CASES:
            for number, array in enumerate(compute(name)):
                results[f"{name} {number}"] = array
    results["memory"] = np.array([memory(8), memory(16)])
    np.savez(path, **results)


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """What `main` computes in a process with four devices."""
    path = tmp_path_factory.mktemp("sharded") / "results.npz"
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    script = (
        "import sys, importlib.util, jaxtyping\n"
        "jaxtyping.install_import_hook('hqnn_jax', 'beartype.beartype')\n"
        "spec = importlib.util.spec_from_file_location('child', sys.argv[1])\n"
        "child = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(child)\n"
        "child.main(sys.argv[2])\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", script, __file__, str(path)],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return np.load(path)


@functools.cache
def on_whole_states(make, batch):
    circuit = make()
    with jax.enable_x64(True):
        arguments = inputs(circuit, batch, jnp.float64)
        evaluate = statevector.build(circuit)
        gradients, outputs = gradient_of(evaluate, circuit.num_outputs)(*arguments)
    return [outputs, *gradients]


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_match_whole_states(computed, name):
    make, batch, _ = CASES[name]
    for number, expected in enumerate(on_whole_states(make, batch)):
        found = computed[f"{name} {number}"]
        assert found.dtype == np.float64
        assert np.max(np.abs(expected)) > 1e-2
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_no_device_holds_a_whole_state(computed):
    for temporary, largest, all_gathers, all_to_alls in computed["memory"]:
        assert all_to_alls > 0
        assert all_gathers == 0
        assert largest <= 1
        assert temporary < 11


def test_memory_does_not_grow_with_depth(computed):
    few_layers, many_layers = computed["memory"][:, 0]
    assert many_layers < few_layers + 1


def random_layers(num_qubits, seed):
    rng = random.Random(seed)
    gates = []
    for _ in range(rng.choice([3, 12, 40])):
        name = rng.choice(["CNOT", "SWAP", "CZ", "RY", "RZ"])
        wires = rng.sample(range(num_qubits), 1 if name[0] == "R" else 2)
        gates.append(Gate(name, tuple(wires), 0 if name[0] == "R" else None))
    return schedule(gates, num_qubits)


def exchange(num_qubits, num_global):
    middle = 2 * num_global
    order = [*range(num_global, middle), *range(num_global), *range(middle, num_qubits)]
    return BitMap.reordering(order)


@pytest.mark.parametrize(("num_qubits", "num_global"), [(2, 1), (4, 2), (7, 2), (6, 3), (3, 0)])
def test_steps_make_the_permutation_of_the_layers(num_qubits, num_global):
    for seed in range(12):
        layers = random_layers(num_qubits, seed)
        plan = distribute(layers, num_qubits, num_global)
        wanted = BitMap.identity(num_qubits)
        for layer in layers:
            if layer.entangler is not None:
                wanted = wanted.after(layer.entangler.source)
        found = BitMap.identity(num_qubits)
        for step in plan.layers:
            own = step.entangler
            if own is None:
                continue
            assert isinstance(own, LocalEntangler)
            units = BitMap.identity(num_qubits).columns[:num_global]
            kept = [unit ^ label for unit, label in zip(units, own.offsets, strict=True)]
            found = found.after(BitMap((*kept, *own.source.columns)))
            if own.exchanges:
                found = found.after(exchange(num_qubits, num_global))
        assert found.after(plan.source) == wanted


@pytest.mark.parametrize(("entangling", "per_layer"), [("CZ", 1), ("CNOT", 2)])
def test_exchanges_of_a_layer(entangling, per_layer):
    gates = []
    for _ in range(5):
        gates += [Gate("RY", (wire,), 0) for wire in range(8)]
        gates += [Gate(entangling, (wire, (wire + 1) % 8)) for wire in range(8)]
    plan = distribute(schedule(gates, 8), 8, 2)
    exchanges = [
        step.entangler.exchanges
        for step in plan.layers
        if isinstance(step.entangler, LocalEntangler)
    ]
    # Nothing is moved for the first layer's rotations nor after the last layer's.
    assert sum(exchanges) == 4 * per_layer


def mesh_with(**sizes):
    """A mesh whose devices do not exist, for checks made before any computation."""
    return jax.sharding.AbstractMesh(tuple(sizes.values()), tuple(sizes))


@pytest.mark.parametrize(
    ("sizes", "axes", "message"),
    [
        ({"x": 8}, (None,), r"4 qubits cannot be spread over 8 devices \(mesh axis 'x'\).*most 4"),
        ({"x": 3}, (None,), r"over 3 devices .*expected a power of two, at most 4"),
        ({"x": 2, "y": 2}, (None,), r"mesh has the axes \('x', 'y'\); name the one"),
        ({"x": 2}, ("z",), r"no mesh axis 'z'; expected one of \('x',\)"),
        ({"x": 2}, ("x", "y"), r"no mesh axis 'y'"),
        ({"x": 2}, ("x", "x"), r"same mesh axis 'x'"),
    ],
)
def test_unsuitable_meshes_are_refused(sizes, axes, message):
    with pytest.raises(CircuitError, match=message):
        sharded.build(shallow_circuit(), mesh_with(**sizes), *axes)


def test_batch_that_cannot_be_divided_is_refused():
    evaluate = sharded.build(shallow_circuit(), mesh_with(x=2, y=2), "x", "y")
    with pytest.raises(CircuitError, match=r"batch of 3 samples; expected a multiple of 2.*'y'"):
        evaluate(jnp.zeros(4), jnp.zeros((3, 4)))
