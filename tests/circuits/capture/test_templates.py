"""PennyLane's templates and gates, captured, equal the QNode."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import Circuit

NUM_FEATURES, NUM_WEIGHTS, BATCH = 8, 24, 2
# Each circuit is compiled for one run.
UNOPTIMISED = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}
rng = np.random.default_rng(11)
UNITARY_2, UNITARY_4, UNITARY_8 = (
    np.linalg.qr(rng.normal(size=(d, d)) + 1j * rng.normal(size=(d, d)))[0] for d in (2, 4, 8)
)
ORTHOGONAL_3 = np.linalg.qr(rng.normal(size=(3, 3)))[0]
STATE_8 = UNITARY_8[:, 0]
PHASES_8 = np.exp(1j * rng.uniform(-3, 3, 8))


def hamiltonian(w):
    return qml.dot([w[0], w[1], 0.7], [qml.X(0) @ qml.Z(1), qml.Y(2), qml.Z(1) @ qml.Z(2)])


def commuting(w):
    return qml.dot([w[2], -0.4], [qml.X(0) @ qml.X(1), qml.Z(0) @ qml.Z(1)])


def block(weights, wires):
    qml.RX(weights[0], wires[0])
    qml.RY(weights[1], wires[1])
    qml.CNOT(wires)


def subroutine(x, w, wires):
    qml.RX(x[0], wires[0])
    qml.CRot(w[0], w[1], w[2], wires[:2])


def ops(*operations):
    """Apply operations, given as functions of (features, weights), one after the other."""

    def apply(x, w):
        for operation in operations:
            operation(x, w)

    return apply


GATES: dict[str, Callable] = {
    "fixed_one_qubit": ops(
        *(lambda x, w, g=g, q=q: getattr(qml, g)(q) for q, g in enumerate("HXYZ")),
        lambda x, w: qml.S(0),
        lambda x, w: qml.T(1),
        lambda x, w: qml.SX(2),
        lambda x, w: qml.I(3),
    ),
    "one_qubit_rotations": ops(
        lambda x, w: qml.PhaseShift(x[0], 0),
        lambda x, w: qml.Rot(x[1], w[0], 0.3, 1),
        lambda x, w: qml.U1(w[1], 2),
        lambda x, w: qml.U2(w[2], x[2], 3),
        lambda x, w: qml.U3(w[3], x[3], w[4], 0),
        lambda x, w: qml.GlobalPhase(w[0], 1),
    ),
    "fixed_two_qubit": ops(
        lambda x, w: qml.CNOT([0, 2]),
        lambda x, w: qml.CZ([1, 3]),
        lambda x, w: qml.CY([2, 0]),
        lambda x, w: qml.CH([3, 1]),
        lambda x, w: qml.SWAP([1, 3]),
        lambda x, w: qml.ISWAP([3, 2]),
        lambda x, w: qml.SISWAP([0, 1]),
        lambda x, w: qml.ECR([2, 0]),
    ),
    "controlled_rotations": ops(
        lambda x, w: qml.CRX(x[0], [2, 0]),
        lambda x, w: qml.CRY(w[0], [0, 3]),
        lambda x, w: qml.CRZ(x[1] * w[1], [3, 1]),
        lambda x, w: qml.CRot(w[2], x[2], w[3], [1, 2]),
        lambda x, w: qml.ControlledPhaseShift(x[3], [2, 3]),
        lambda x, w: qml.CPhaseShift00(x[0], [0, 2]),
        lambda x, w: qml.CPhaseShift01(w[4], [1, 3]),
        lambda x, w: qml.CPhaseShift10(w[5], [3, 0]),
    ),
    "ising": ops(
        lambda x, w: qml.IsingXX(x[0], [2, 0]),
        lambda x, w: qml.IsingYY(w[0], [0, 3]),
        lambda x, w: qml.IsingZZ(x[1], [3, 1]),
        lambda x, w: qml.IsingXY(w[1], [1, 2]),
        lambda x, w: qml.PSWAP(w[2], [3, 2]),
    ),
    "excitations": ops(
        lambda x, w: qml.SingleExcitation(x[0], [2, 0]),
        lambda x, w: qml.SingleExcitationPlus(w[0], [0, 3]),
        lambda x, w: qml.SingleExcitationMinus(x[1], [3, 1]),
        lambda x, w: qml.OrbitalRotation(w[1], [1, 2, 3, 0]),
        lambda x, w: qml.FermionicSWAP(w[2], [3, 2]),
    ),
    "double_excitation": ops(
        lambda x, w: qml.DoubleExcitation(x[0], [2, 0, 1, 3]),
        lambda x, w: qml.DoubleExcitation(w[0], [0, 3, 2, 1]),
    ),
    "pauli_rotations": ops(
        lambda x, w: qml.PauliRot(x[0], "XYZ", [3, 0, 2]),
        lambda x, w: qml.PauliRot(w[0], "IZ", [1, 2]),
        lambda x, w: qml.MultiRZ(w[1], [1, 3, 0]),
        lambda x, w: qml.PCPhase(x[1], 3, [1, 2]),
    ),
    "multi_controlled": ops(
        lambda x, w: qml.Toffoli([3, 0, 1]),
        lambda x, w: qml.CCZ([1, 2, 0]),
        lambda x, w: qml.CSWAP([2, 3, 0]),
        lambda x, w: qml.MultiControlledX([0, 3, 1, 2], control_values=[1, 0, 1]),
        lambda x, w: qml.ControlledQubitUnitary(UNITARY_2, [3, 1, 0]),
    ),
    "matrices": ops(
        lambda x, w: qml.QubitUnitary(UNITARY_2, 3),
        lambda x, w: qml.QubitUnitary(UNITARY_4, [2, 0]),
        lambda x, w: qml.QubitUnitary(UNITARY_8, [3, 1, 0]),
        lambda x, w: qml.DiagonalQubitUnitary(PHASES_8, [0, 2, 1]),
    ),
    "traced_diagonal": lambda x, w: qml.DiagonalQubitUnitary(qml.math.exp(1j * x), [2, 0, 3]),
    "ctrl": ops(
        lambda x, w: qml.ctrl(qml.RX(x[0], 1), [3, 0], control_values=[0, 1]),
        lambda x, w: qml.ctrl(qml.T(2), 0),
        lambda x, w: qml.ctrl(qml.GlobalPhase(w[1]), 3),
        qml.ctrl(partial(subroutine, wires=[1, 2]), 3),
        lambda x, w: qml.ctrl(qml.PhaseShift(w[2], 2), [1, 0], control_values=[0, 1]),
        lambda x, w: qml.ctrl(qml.RY(w[3] + x[1], 3), [2, 1]),
        lambda x, w: qml.ctrl(qml.IsingXX(w[4], [0, 3]), [1]),
    ),
    "adjoint": ops(
        lambda x, w: qml.adjoint(qml.S(3)),
        lambda x, w: qml.adjoint(qml.SX)(2),
        lambda x, w: qml.adjoint(qml.QFT)(wires=[3, 0, 2]),
        lambda x, w: qml.adjoint(subroutine)(x, w, [3, 1]),
        lambda x, w: qml.adjoint(qml.ISWAP([1, 2])),
        lambda x, w: qml.adjoint(qml.ctrl(qml.RY(x[1], 0), 2)),
    ),
    "pow": ops(
        lambda x, w: qml.pow(qml.RX(x[0], 1), 0.5),
        lambda x, w: qml.pow(qml.T(0), 3),
        lambda x, w: qml.pow(qml.X(2), 0.3),
        lambda x, w: qml.pow(qml.Hadamard(3), 0.7),
        lambda x, w: qml.pow(qml.CNOT([3, 1]), 2),
        lambda x, w: qml.pow(qml.SWAP([0, 2]), 0.25),
    ),
    "prod": ops(
        lambda x, w: qml.prod(qml.X(0), qml.RY(x[1], 2)),
        lambda x, w: qml.change_op_basis(qml.H(0), qml.RZ(w[0], 0), qml.H(0)),
    ),
    "exp_word": lambda x, w: qml.exp(qml.X(0) @ qml.Y(2), -0.5j * x[0]),
    "exp_constant": lambda x, w: qml.exp(qml.X(0) @ qml.Z(1) + 0.5 * qml.Y(0), 0.3j),
    "evolve_word": lambda x, w: qml.evolve(qml.Z(1) @ qml.Y(3), w[0]),
    "ignored": ops(
        lambda x, w: qml.Barrier([0, 2]),
        lambda x, w: qml.Snapshot(),
        lambda x, w: qml.RX(x[0], 2),
    ),
}

EMBEDDINGS = {
    "angle": ops(
        lambda x, w: qml.AngleEmbedding(x[:4], range(4), rotation="X"),
        lambda x, w: qml.AngleEmbedding(x[4:7], [3, 0, 2], rotation="Z"),
    ),
    "basis": lambda x, w: qml.BasisEmbedding([1, 0, 1], [0, 3, 2]),
    "iqp": lambda x, w: qml.IQPEmbedding(x[:4], range(4), n_repeats=2),
    "qaoa": lambda x, w: qml.QAOAEmbedding(x[:3], w[:12].reshape(2, 6), wires=[3, 0, 2]),
}

LAYERS = {
    "strongly_entangling": lambda x, w: qml.StronglyEntanglingLayers(
        w.reshape(2, 4, 3), range(4), imprimitive=qml.CZ
    ),
    "basic_entangler": lambda x, w: qml.BasicEntanglerLayers(w[:8].reshape(2, 4), range(4)),
    "random": lambda x, w: qml.RandomLayers(w.reshape(2, 12), range(4), seed=5),
    "simplified_two_design": lambda x, w: qml.SimplifiedTwoDesign(
        w[:4], w[4:16].reshape(2, 3, 2), wires=range(4)
    ),
    "gate_fabric": lambda x, w: qml.GateFabric(
        w[:4].reshape(2, 1, 2), wires=range(4), init_state=[1, 1, 0, 0], include_pi=True
    ),
    "particle_conserving_u1": lambda x, w: qml.ParticleConservingU1(
        w[:6].reshape(1, 3, 2), wires=range(4)
    ),
    "particle_conserving_u2": lambda x, w: qml.ParticleConservingU2(
        w[:7].reshape(1, 7), wires=range(4)
    ),
    "qml_layer": lambda x, w: qml.layer(block, 3, w[:6].reshape(3, 2), wires=[1, 3]),
    "mps": lambda x, w: qml.MPS(range(4), 2, block, 2, w[:6].reshape(3, 2)),
    "ttn": lambda x, w: qml.TTN(range(4), 2, block, 2, w[:6].reshape(3, 2)),
    "mera": lambda x, w: qml.MERA(range(4), 2, block, 2, w[:10].reshape(5, 2)),
    "swap_network": lambda x, w: qml.TwoLocalSwapNetwork(
        range(4),
        lambda index, wires, param: qml.CRX(param, wires),
        w[:6],
        shift=False,
        fermionic=False,
    ),
}

PREPARATIONS = {
    "basis_state": lambda x, w: qml.BasisState(np.array([1, 0, 1]), [2, 0, 3]),
    "state_prep": lambda x, w: qml.StatePrep(STATE_8, [2, 0, 3]),
    "mottonen": lambda x, w: qml.MottonenStatePreparation(STATE_8, [3, 0, 1]),
    "amplitude_constant": lambda x, w: qml.AmplitudeEmbedding(
        [1, -2.0, 3], [2, 0], pad_with=0.5, normalize=True
    ),
    "amplitude_features": lambda x, w: qml.AmplitudeEmbedding(x, [2, 0, 3], normalize=True),
    "amplitude_padded": lambda x, w: qml.AmplitudeEmbedding(
        x[:5], [2, 0, 3], pad_with=0.25, normalize=True
    ),
    "amplitude_complex": lambda x, w: qml.AmplitudeEmbedding(
        x[:4] + 1j * w[:4], [3, 1], normalize=True
    ),
    "mottonen_features": lambda x, w: qml.MottonenStatePreparation(
        x / qml.math.sqrt(qml.math.sum(x**2)), [1, 0, 3]
    ),
    "arbitrary_state": lambda x, w: qml.ArbitraryStatePreparation(w[:14], [3, 0, 2]),
    "cosine_window": lambda x, w: qml.CosineWindow([2, 0, 3]),
    "superposition": lambda x, w: qml.Superposition(
        np.array([0.6, 0.8]), np.array([[0, 1, 0], [1, 1, 1]]), wires=[0, 1, 2], work_wire=3
    ),
    "multiplexer": lambda x, w: qml.MultiplexerStatePreparation(STATE_8, [2, 0, 3]),
    "basis_features": lambda x, w: qml.BasisState(qml.math.array(x[:3] > 0, like=x) * 1, [2, 0, 3]),
    "adjoint_of_features": lambda x, w: qml.adjoint(qml.StatePrep(x[:4], [2, 0], normalize=True)),
}

SUBROUTINES = {
    "qft": lambda x, w: qml.QFT([2, 0, 3]),
    "aqft": lambda x, w: qml.AQFT(1, [2, 0, 3]),
    "permute": lambda x, w: qml.Permute([2, 0, 3, 1], range(4)),
    "grover": lambda x, w: qml.GroverOperator([2, 0, 3]),
    "arbitrary_unitary": lambda x, w: qml.ArbitraryUnitary(w[:15], [2, 0]),
    "flip_sign": lambda x, w: qml.FlipSign([1, 0, 1], [3, 0, 2]),
    "reflection": lambda x, w: qml.Reflection(qml.QFT([2, 0]), alpha=0.7),
    "basis_rotation": lambda x, w: qml.BasisRotation([3, 1, 0], ORTHOGONAL_3),
    "controlled_sequence": lambda x, w: qml.ControlledSequence(qml.RX(x[0], 2), [3, 0]),
    "qpe": lambda x, w: qml.QuantumPhaseEstimation(qml.RX(w[0], 1), estimation_wires=[3, 0]),
    "select": lambda x, w: qml.Select([qml.RX(x[0], 1), qml.Z(2), qml.RY(w[1], 2)], [0, 3]),
    "select_pauli_rot": lambda x, w: qml.SelectPauliRot(x[:4], [2, 0], 3, rot_axis="Y"),
    "iqp_circuit": lambda x, w: qml.IQP(w[:3], 4, [[[0]], [[1, 2]], [[0, 3]]]),
    "approx_time_evolution": lambda x, w: qml.ApproxTimeEvolution(hamiltonian(w), x[0], 2),
    "trotter_product": lambda x, w: qml.TrotterProduct(hamiltonian(w), x[0], n=2, order=2),
    "commuting_evolution": lambda x, w: qml.CommutingEvolution(commuting(w), x[0]),
    "qdrift": lambda x, w: qml.QDrift(
        qml.dot([0.4, 0.3], [qml.X(0) @ qml.Z(1), qml.Y(2)]), 0.4, n=3, seed=1
    ),
    "fermionic_single": lambda x, w: qml.FermionicSingleExcitation(x[0], [0, 1, 3]),
    "fermionic_double": lambda x, w: qml.FermionicDoubleExcitation(w[0], [0, 1], [2, 3]),
    "uccsd": lambda x, w: qml.UCCSD(
        w[:3], range(4), [[0, 2], [1, 3]], [[[0, 1], [2, 3]]], init_state=np.array([1, 1, 0, 0])
    ),
    "kupccgsd": lambda x, w: qml.kUpCCGSD(
        w[:6].reshape(1, 6), range(4), k=1, delta_sz=0, init_state=[1, 1, 0, 0]
    ),
    "all_singles_doubles": lambda x, w: qml.AllSinglesDoubles(
        w[:3], range(4), np.array([1, 1, 0, 0]), [[0, 2], [1, 3]], [[0, 1, 2, 3]]
    ),
    "qsvt": lambda x, w: qml.QSVT(
        qml.BlockEncode(0.3, 1), [qml.PCPhase(x[0], 1, [1]), qml.PCPhase(w[0], 1, [1])]
    ),
    "adder": lambda x, w: qml.Adder(3, [0, 1, 2]),
    "phase_adder": lambda x, w: qml.PhaseAdder(3, [0, 1, 2]),
    "qrom": lambda x, w: qml.QROM([[0, 1], [1, 1], [1, 0], [0, 0]], [0, 1], [2, 3], None),
    "semi_adder": lambda x, w: qml.SemiAdder([0], [1, 2], [3]),
    "temporary_and": lambda x, w: qml.TemporaryAND([0, 1, 2]),
    "qubit_carry": lambda x, w: qml.QubitCarry([0, 1, 2, 3]),
    "qubit_sum": lambda x, w: qml.QubitSum([2, 1, 3]),
    "integer_comparator": lambda x, w: qml.IntegerComparator(3, [0, 1, 2, 3], geq=True),
    "prep_sel_prep": lambda x, w: qml.PrepSelPrep(
        qml.dot([0.3, 0.7], [qml.X(0), qml.Z(1)]), control=[3]
    ),
    "qubitization": lambda x, w: qml.Qubitization(
        qml.dot([0.3, 0.7], [qml.X(0), qml.Z(1)]), control=[3]
    ),
    "amplitude_amplification": lambda x, w: qml.AmplitudeAmplification(
        qml.QFT([0, 1]), qml.FlipSign([1, 0], [0, 1]), iters=2
    ),
    "hilbert_schmidt": lambda x, w: qml.HilbertSchmidt(qml.RZ(0.7, 1), qml.RY(1.3, 0)),
    "gqsp": lambda x, w: qml.GQSP(
        qml.RX(x[0], 1), np.array([[0.3, 1.1, -0.4], [0.7, 0.2, 0.9], [0.5, 0.0, 0.1]]), control=3
    ),
    "fable": lambda x, w: qml.FABLE(np.array([[0.1, 0.2], [0.3, -0.2]]), [0, 1, 2], tol=0),
}

OPERATIONS = {**GATES, **EMBEDDINGS, **LAYERS, **SUBROUTINES}
# Several in one circuit: what takes time is to compile one.
GROUPS = {
    "+".join(names): names
    for section in (GATES, EMBEDDINGS, LAYERS, SUBROUTINES)
    for names in (list(section)[start : start + 3] for start in range(0, len(section), 3))
}


def scramble(offset):
    """Different rotations on all wires, so that no phase and no wire order stays unseen."""
    for wire in range(4):
        qml.RY(0.4 + 0.5 * wire + offset, wire)
        qml.RZ(1.3 - 0.3 * wire - offset, wire)
    for wire in range(3):
        qml.CNOT([wire, wire + 1])


def check_against_qnode(function, name):
    inputs = np.random.default_rng(3)
    features = inputs.uniform(-2, 3, (BATCH, NUM_FEATURES))
    weights = inputs.uniform(-3, 4, NUM_WEIGHTS)
    qnode = qml.QNode(function, qml.device("default.qubit", wires=4), interface=None)
    expected = np.stack([qnode(sample, weights) for sample in features])
    circuit = Circuit.from_function(
        function, num_qubits=4, num_features=NUM_FEATURES, weights_shape=(NUM_WEIGHTS,), name=name
    )
    with jax.enable_x64(True):
        evaluate = jax.jit(circuit.to_jax("statevector"), compiler_options=UNOPTIMISED)
        found = evaluate(jnp.asarray(weights), jnp.asarray(features))
    np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("names", GROUPS.values(), ids=list(GROUPS))
def test_operations_equal_the_qnode(names):
    def function(features, weights):
        scramble(0.0)
        for index, name in enumerate(names):
            OPERATIONS[name](features, weights)
            scramble(0.2 + index)
        return qml.probs(wires=range(4))

    check_against_qnode(function, names[0])


@pytest.mark.parametrize("name", PREPARATIONS)
def test_state_preparations_equal_the_qnode(name):
    def function(features, weights):
        PREPARATIONS[name](features, weights)
        scramble(0.2)
        return qml.probs(wires=range(4))

    check_against_qnode(function, name)
