"""The noise model read from a Qiskit target, against Aer's model of the same device."""

import numpy as np
import pennylane as qml
import pytest
import qiskit
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.transpiler import Target
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime.fake_provider import FakeLagosV2, FakeManilaV2

from hqnn_jax.circuits import Gate
from hqnn_jax.circuits.noise.channels import thermal_relaxation
from hqnn_jax.circuits.noise.device import noise_from_target
from hqnn_jax.circuits.noise.model import NoiseModel
from hqnn_jax.errors import CircuitError


def generic(entangler, coupling):
    """A made-up device of four qubits, with errors larger than relaxation alone makes."""
    backend = GenericBackendV2(
        4, ["rz", "sx", "x", entangler], coupling_map=coupling, noise_info=True, seed=5
    )
    for name in ("sx", entangler):
        for place, properties in enumerate(backend.target[name].values()):
            properties.error = 0.02 + 0.005 * place
    return backend


def native_circuit(entangler, pairs):
    """A circuit of native gates, for Qiskit and as PennyLane's operations."""
    angles = np.random.default_rng(8).uniform(-3, 3, (len(pairs), 3))
    theirs = qiskit.QuantumCircuit(3)
    ours = []
    for layer, pair in enumerate(pairs):
        for qubit in range(3):
            theirs.rz(angles[layer, qubit], qubit)
            theirs.sx(qubit)
            ours += [qml.RZ(angles[layer, qubit], qubit), qml.RX(np.pi / 2, qubit)]
        theirs.x(layer % 2)
        getattr(theirs, entangler)(*pair)
        ours += [qml.PauliX(layer % 2), {"cx": qml.CNOT, "cz": qml.CZ}[entangler](list(pair))]
    return theirs, ours


def density_matrix(operations, noise):
    """The final state of three qubits with the channels of a noise model."""

    @qml.qnode(qml.device("default.mixed", wires=3), interface=None)
    def state():
        for operation in operations:
            qml.apply(operation)
            for channel in noise.after(Gate(operation.name, tuple(operation.wires))):
                qml.QubitChannel(list(channel.kraus), wires=channel.wires)
        return qml.density_matrix(range(3))

    return np.asarray(state())


@pytest.mark.parametrize(
    ("make_backend", "qubits", "entangler"),
    [
        (FakeManilaV2, [2, 1, 0], "cx"),
        (FakeLagosV2, [3, 5, 4], "cx"),
        (lambda: generic("cz", [[3, 1], [1, 3], [1, 2], [2, 1]]), [3, 1, 2], "cz"),
    ],
    ids=["manila", "lagos", "generic"],
)
def test_transpiled_circuits_match_aer(make_backend, qubits, entangler):
    backend = make_backend()
    theirs, ours = native_circuit(entangler, [(0, 1), (1, 2), (1, 0), (2, 1)])
    noise = noise_from_target(backend, qubits, transpiled=True)
    found = density_matrix(ours, noise)

    model = AerSimulator.from_backend(backend, method="density_matrix").options.noise_model
    # Aer's model names the device's qubits.
    placed = qiskit.QuantumCircuit(max(qubits) + 1)
    placed.compose(theirs, qubits, inplace=True)
    placed.save_density_matrix(qubits[::-1])
    simulator = AerSimulator(method="density_matrix", noise_model=model)
    expected = np.asarray(simulator.run(placed).result().data()["density_matrix"])
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert np.max(np.abs(density_matrix(ours, NoiseModel()) - expected)) > 1e-3

    for wire, qubit in enumerate(qubits):
        table = next(e for q, e in model._local_readout_errors.items() if q == (qubit,))
        np.testing.assert_allclose(noise.readout_error(wire).confusion.T, table.probabilities)


def test_device_noise_of_written_circuits():
    target = FakeManilaV2().target
    noise = noise_from_target(target, [1, 2])
    assert len(noise.after(Gate("RX", (0,), 0))) == 2 * len(noise.after(Gate("Hadamard", (0,))))
    assert noise.after(Gate("RZ", (1,), 0)) == ()
    assert len(noise.after(Gate("SWAP", (1, 0)))) == 3 * len(noise.after(Gate("CNOT", (1, 0))))
    depolarise, relax = noise.after(Gate("Hadamard", (1,)))
    both = relax.transfer_matrix @ depolarise.transfer_matrix
    infidelity = 1 - (np.trace(both) / 2 + 1) / 3
    np.testing.assert_allclose(infidelity, target["sx"][(2,)].error, rtol=1e-6)


def test_device_noise_takes_gates_in_the_direction_there_is():
    backend = generic("ecr", [[1, 0], [2, 1], [3, 2]])
    noise = noise_from_target(backend, [0, 1])
    forward, backward = (noise.after(Gate("CNOT", pair)) for pair in ((0, 1), (1, 0)))
    assert {tuple(sorted(channel.wires)) for channel in forward} == {(0, 1), (0,), (1,)}
    duration = backend.target["ecr"][1, 0].duration
    for channels in (forward, backward):
        relaxation = {channel.wires: channel for channel in channels if channel.num_wires == 1}
        for wire, properties in enumerate(backend.target.qubit_properties[:2]):
            expected = thermal_relaxation(properties.t1, properties.t2, duration)
            np.testing.assert_array_equal(relaxation[wire,].kraus, expected.kraus)


def test_gates_that_the_device_lacks_are_refused():
    noise = noise_from_target(FakeManilaV2(), [0, 1, 2])
    with pytest.raises(CircuitError, match=r"CNOT acts on wires \[0, 2\].*does not couple"):
        noise.after(Gate("CNOT", (0, 2)))
    with pytest.raises(CircuitError, match=r"qubits \[0, 5\]; expected different.*0 to 4"):
        noise_from_target(FakeManilaV2(), [0, 5])
    with pytest.raises(CircuitError, match="qubit 0 has none of the gates sx"):
        noise_from_target(Target(num_qubits=2), [0])
