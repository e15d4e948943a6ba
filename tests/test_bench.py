"""The benchmark: what it times agrees, and what cannot be timed is named with the reason."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.benchmarks import peers
from hqnn_jax.benchmarks.contenders import PEERS
from hqnn_jax.benchmarks.machine import floor, short_name, work
from hqnn_jax.benchmarks.measure import GRADIENT, VALUE
from hqnn_jax.benchmarks.native import NativeGate, Source, angle_sources, native_gates
from hqnn_jax.benchmarks.plots import figure
from hqnn_jax.benchmarks.reference import PERIOD, Results, disagreement, make_inputs, reference
from hqnn_jax.benchmarks.rows import DEFAULT_ROWS, GRID_AMPLITUDES, Row, make_circuit, select_rows
from hqnn_jax.benchmarks.summary import compare, table
from hqnn_jax.circuits import Circuit
from hqnn_jax.errors import CircuitError, ConfigurationError
from tests.command_line import call

SIMULATORS = """
import os
import time

def right(circuit):
    return circuit.to_jax("statevector")

def wrong(circuit):
    evaluate = circuit.to_jax("statevector")
    return lambda weights, features: evaluate(weights, features)[:, ::-1]

def absent(circuit):
    import no_such_simulator

def broken(circuit):
    raise ValueError("no qubits left")

def killed(circuit):
    os._exit(3)

def slow(circuit):
    time.sleep(600)
"""


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Return `bench(*arguments) -> (exit code, document, standard output, standard error)`."""
    (tmp_path / "made_here.py").write_text(SIMULATORS)
    monkeypatch.syspath_prepend(tmp_path)

    def bench(*arguments):
        out = tmp_path / "results.json"
        code, printed, err = call("bench", *arguments, "--out", out)
        return code, json.loads(out.read_text()), printed, err

    return bench


def everything(features, weights):
    """Fixed gates, a repeated feature, a constant angle, words with X and Y, sums of words."""
    qml.Hadamard(0)
    qml.AngleEmbedding(features, wires=[2, 0], rotation="X")
    qml.StronglyEntanglingLayers(weights[:1], wires=range(3))
    qml.RY(features[0], 1)
    qml.S(1)
    qml.T(2)
    qml.SWAP([0, 2])
    qml.RZ(0.3, 1)
    qml.CZ([1, 2])
    qml.StronglyEntanglingLayers(weights[1:], wires=range(3))
    return (
        qml.expval(qml.X(0) @ qml.Y(2)),
        qml.expval(0.5 * qml.Y(1) - 1.5 * qml.Z(0) @ qml.X(2) + 0.25 * qml.I(0)),
    )


def everything_circuit() -> Circuit:
    return Circuit.from_function(everything, num_qubits=3, num_features=2, weights_shape=(2, 3, 3))


def test_a_benchmark_from_the_command_line(bench):
    code, document, out, err = bench(
        *("--circuits", "radhi2025-3x1", "--batch", "5", "--rounds", "2", "--quick"),
        *("--engines", "statevector"),
        *("--peers", ",".join(f"made_here:{n}" for n in ("right", "wrong", "absent", "killed"))),
    )
    assert code == 0, err
    assert document["schema"] == 1
    assert document["settings"]["rounds"] == 2
    machine = document["machine"]
    assert machine["versions"].keys() >= {"jax", "pennylane", "hqnn_jax"}
    assert machine["cores"] >= 1
    (row,) = document["rows"]
    assert (row["circuit"], row["num_qubits"], row["batch"]) == ("radhi2025-3x1", 3, 5)
    contenders = {c["name"]: c for c in row["contenders"]}
    assert list(contenders) == [
        "statevector", "made_here:right", "made_here:wrong", "made_here:absent", "made_here:killed"
    ]  # fmt: skip
    for name in ("statevector", "made_here:right"):
        timed = contenders[name]
        assert timed["status"] == "timed"
        for quantity in (GRADIENT, VALUE):
            measured = timed[quantity]
            assert measured["calls"] >= 2
            low, high = measured["lower_quartile_s"], measured["upper_quartile_s"]
            assert 0 < low <= measured["median_s"] <= high
            assert measured["compile_s"] > 0
            assert measured["step_peak_bytes"] is None or measured["step_peak_bytes"] >= 0
    assert contenders["made_here:wrong"]["status"] == "disagrees"
    assert "outputs" in contenders["made_here:wrong"]["reason"]
    assert contenders["made_here:absent"]["status"] == "not installed"
    assert "no_such_simulator" in contenders["made_here:absent"]["reason"]
    assert contenders["made_here:killed"]["status"] == "crashed"
    assert "exit code 3" in contenders["made_here:killed"]["reason"]
    assert row["comparison"]["best_peer"] == "made_here:right"
    for text in ("statevector", "made_here:wrong: disagrees", "not installed", "results.png"):
        assert text in out


def test_over_the_limit_and_failures_are_reported(bench, tmp_path):
    code, document, out, err = bench(
        *("--circuits", "sel2x1", "--batch", "1", "--limit", "1", "--rounds", "1"),
        *("--engines", "none", "--peers", "made_here:slow,made_here:broken"),
    )
    assert code == 0, err
    (row,) = document["rows"]
    slow, broken = row["contenders"]
    assert slow["status"] == "over the limit"
    assert "1 s" in slow["reason"]
    assert broken["status"] == "failed"
    assert "no qubits left" in broken["reason"]
    assert row["comparison"]["best_peer"] is None
    assert "over the limit" in out
    assert (tmp_path / "results.png").stat().st_size > 1000
    before = (tmp_path / "results.json").read_bytes()
    code, _, _, err = bench("--circuits", "sel2x1", "--engines", "none", "--peers", "none")
    assert code == 1
    assert "exists and is not overwritten" in err
    assert (tmp_path / "results.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--circuits", "no_such"), "no_such"),
        (("--batch", "many"), "--batch many"),
        (("--batch", "0"), "--batch 0"),
        (("--engines", "statevektor"), "statevektor"),
        (("--peers", "cirq"), "cirq"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(arguments, text):
    code, _, error = call("bench", *arguments)
    assert code == 2
    assert error.startswith("error: ")
    assert text in error


@pytest.mark.parametrize("name", PEERS)
def test_peers_agree_with_the_reference(name):
    for package in {"tensorcircuit": ["tensorcircuit"], "qujax": ["qujax"]}.get(
        name, ["torch"] if name in ("pennylane_torch", "lightning") else []
    ):
        pytest.importorskip(package, reason=f"{package} is an optional peer of the benchmark")
    circuit = everything_circuit()
    inputs = make_inputs(circuit, PERIOD + 2)
    simulator = getattr(peers, name)(circuit)
    if callable(simulator):

        def loss(weights, features):
            outputs = simulator(weights, features)
            return jnp.sum(inputs.cotangents * outputs), outputs

        options = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}
        gradient = jax.jit(jax.grad(loss, (0, 1), has_aux=True), compiler_options=options)
        gradients, outputs = gradient(*map(jnp.asarray, inputs[:2]))
        results = Results(outputs, *gradients)
    else:
        simulator.load(*inputs)
        results = Results(*map(np.asarray, simulator.value_and_gradient()))
        np.testing.assert_allclose(simulator.value(), results.outputs, atol=1e-5)
    assert disagreement(results, reference(circuit, inputs)) is None


def test_the_reference_is_the_quantum_function():
    circuit = everything_circuit()
    inputs = make_inputs(circuit, PERIOD + 2)
    found = reference(circuit, inputs)
    qnode = qml.QNode(everything, qml.device("default.qubit", wires=3), interface="autograd")
    weights, features, cotangents = (array.astype(float) for array in inputs)

    def outputs(weights, features):
        return np.array([qnode(sample, weights) for sample in features])

    np.testing.assert_allclose(found.outputs, outputs(weights, features), atol=1e-9)
    # Slopes along random directions, by central differences.
    rng = np.random.default_rng(3)
    along_weights = rng.normal(size=weights.shape)
    along_features = rng.normal(size=features.shape)
    step = 1e-5
    for gradient, moves in (
        (found.weights_gradient, (along_weights, 0 * along_features)),
        (found.features_gradient, (0 * along_weights, along_features)),
    ):
        up, down = (
            np.sum(cotangents * outputs(weights + s * moves[0], features + s * moves[1]))
            for s in (step, -step)
        )
        slope = np.sum(gradient * (moves[0] if gradient is found.weights_gradient else moves[1]))
        np.testing.assert_allclose((up - down) / (2 * step), slope, rtol=1e-6)


def test_disagreement_names_what_differs():
    circuit = make_circuit("sel2x1")
    inputs = make_inputs(circuit, 2 * PERIOD)
    right = reference(circuit, inputs)
    assert disagreement(right, right) is None
    swapped = right.outputs[np.arange(2 * PERIOD) ^ 1]
    assert "outputs is off" in disagreement(right._replace(outputs=swapped), right)
    one_wire = right.weights_gradient[:, ::-1]
    assert "weights_gradient" in disagreement(right._replace(weights_gradient=one_wire), right)
    not_a_number = np.full_like(right.features_gradient, np.nan)
    assert "features_gradient" in disagreement(
        right._replace(features_gradient=not_a_number), right
    )
    assert "shape" in disagreement(right._replace(outputs=right.outputs.T), right)


def test_native_gates_put_general_rotations_together():
    circuit = make_circuit("sel2x2")
    gates = native_gates(circuit)
    assert [gate.name for gate in gates] == ["RY", "RY", *(["Rot", "Rot", "CNOT", "CNOT"] * 2)]
    sources = angle_sources(circuit)
    assert [sources[i] for i in gates[3].angles] == [Source("weight", i) for i in (3, 4, 5)]
    # Not where another gate comes between, on any of the wires.
    split = Circuit.from_function(
        lambda x, w: (
            qml.RZ(w[0], 1), qml.RY(w[1], 1), qml.CNOT([1, 0]), qml.RZ(x[0], 1),
            [qml.expval(qml.Z(1))],
        )[-1],
        num_qubits=2, num_features=1, weights_shape=(2,),
    )  # fmt: skip
    assert [gate.name for gate in native_gates(split)] == ["RZ", "RY", "CNOT", "RZ"]
    assert native_gates(split)[2] == NativeGate("CNOT", (1, 0), ())


def test_computed_angles_are_refused_by_adapters_that_only_read():
    circuit = Circuit.from_function(
        lambda x, w: (qml.RX(x[0] * w[0], 0), qml.expval(qml.Z(0)))[-1],
        num_qubits=1,
        num_features=1,
        weights_shape=(1,),
    )
    with pytest.raises(CircuitError, match="computed"):
        angle_sources(circuit)


def test_rows():
    assert select_rows((), ()) == list(DEFAULT_ROWS)
    assert select_rows(("sel8x3",), ()) == [Row("sel8x3", b) for b in (32, 1024, 4096)]
    assert select_rows(("radhi2025-2x1",), (3,)) == [Row("radhi2025-2x1", 3)]
    grid = select_rows((), (), grid=True)
    assert Row("sel20x3", 1) in grid
    assert Row("sel4x3", 4096) in grid
    assert Row("sel20x3", GRID_AMPLITUDES) not in grid
    circuit = make_circuit("radhi2025-8x3")
    assert (circuit.num_qubits, circuit.weights_shape) == (8, (3, 8))
    with pytest.raises(ConfigurationError, match="no_such"):
        select_rows(("no_such",), ())


def timed(kind, name, median, first):
    measured = {
        "lower_s": 0.0, "compile_s": first, "first_call_s": 0.0, "median_s": median,
        "lower_quartile_s": median, "upper_quartile_s": 2 * median, "step_peak_bytes": 10**6,
    }  # fmt: skip
    return {
        "kind": kind, "name": name, "status": "timed", "capture_s": 0.5, "build_s": 0.25,
        GRADIENT: measured, VALUE: measured,
    }  # fmt: skip


def test_comparison_with_the_best_peer():
    contenders = [
        timed("engine", "ours", 0.001, 1.25),
        timed("peer", "steady", 0.004, 3.75),
        timed("peer", "early", 0.02, 0.25),
        {"kind": "peer", "name": "gone", "status": "crashed", "reason": "exit code 9"},
    ]
    row = {
        "circuit": "sel4x3", "num_qubits": 4, "batch": 7, "status": "done",
        "work": {"state_bytes": 100, "bytes": 10**6, "operations": 10**6}, "contenders": contenders,
    }  # fmt: skip
    machine = {
        "copy_bytes_per_s": 1e10, "matmul_operations_per_s": 1e11, "cache_bytes": 600,
        "accelerator": None, "processor": "X", "cores": 2,
    }  # fmt: skip
    row["comparison"] = found = compare(row, machine)
    assert found["best_peer"] == "steady"
    assert found["fastest_first_result_of_a_peer"] == "early"
    # Capture counts for the engine, 0.5 + 0.25 + 1.25; not for peers.
    assert found["first_result_s"] == {"ours": 2.0, "steady": 4.0, "early": 0.5}
    assert found["steady_ratio"] == {"ours": 4.0, "steady": 1.0, "early": 0.2}
    assert found["first_result_ratio"]["ours"] == 2.0
    assert found["floor_s"] == pytest.approx(7e6 / 1e10)
    assert found["bandwidth_share"]["ours"] == pytest.approx(0.7)
    # States that fit the cores' caches are not moved.
    assert floor(row["work"], 6, machine) == pytest.approx(6e6 / 1e11)
    assert "gone: crashed: exit code 9" in table(row)
    left, right = figure({"rows": [row], "machine": machine}).axes
    assert left.get_xscale() == right.get_xscale() == "log"
    assert [line.get_xdata()[0] for line in right.get_lines()] == [2.0, 4.0, 0.5]


def test_work_counts_layers_and_rotated_wires():
    # RY embedding and first rotations in one layer, then one more: 2 layers, 2 × 3 wires.
    found = work(make_circuit("sel3x2"))
    assert found["state_bytes"] == 8 * 8
    assert found["bytes"] == 3 * 2 * 2 * 8 * 8
    assert found["operations"] == 3 * 14 * 6 * 8
    assert work(make_circuit("radhi2025-3x1"))["state_bytes"] == 8 * 4
    assert short_name({"accelerator": None, "cores": 2}) == "2-cpu-cores"
    assert short_name({"accelerator": {"kind": "NVIDIA H100 80GB"}}) == "nvidia-h100-80gb"
