"""Values from primitives: against the exact ones, our noise engine, and each other."""

import json
from dataclasses import replace

import jax
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import Circuit, compose, radhi2025
from hqnn_jax.errors import HardwareError
from hqnn_jax.hardware import execution
from hqnn_jax.hardware.backends import Backend, open_backend
from hqnn_jax.hardware.compilation import compile_for, noisy_circuit
from hqnn_jax.hardware.execution import estimate, requests, sending
from hqnn_jax.hardware.mitigation import Mitigation
from hqnn_jax.hardware.planning import plan

SHOTS = 20_000


def three_wires(features, weights):
    """Outputs that no permutation of wires or bits preserves."""
    for wire in range(3):
        qml.RY(features[wire % 2] + weights[wire], wire)
    qml.CNOT([0, 1])
    qml.RX(weights[2], 1)
    qml.CNOT([2, 1])
    return [
        qml.expval(qml.X(0) @ qml.Z(2)),
        qml.expval(0.5 * qml.Y(1) - 0.25 * qml.Z(0)),
        qml.probs(wires=[2, 0]),
    ]


@pytest.fixture(scope="module")
def circuit():
    return Circuit.from_function(three_wires, num_qubits=3, num_features=2, weights_shape=(3,))


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(1)
    return rng.uniform(-2, 2, 3), rng.uniform(-1.5, 1.5, (5, 2))


@pytest.fixture(scope="module")
def exact(circuit, inputs):
    return values(circuit, inputs)


@pytest.fixture(scope="module")
def on_manila(circuit):
    return compile_for(circuit, open_backend("fake_manila"), initial_layout=[3, 1, 2])


@pytest.fixture(scope="module")
def noisy(on_manila, inputs):
    """The compiled gates in our engine, with our model of the device's noise."""
    return values(noisy_circuit(on_manila), inputs)


def values(circuit, inputs):
    with jax.enable_x64(True):
        weights, features = (np.asarray(value, float) for value in inputs)
        return np.asarray(circuit.to_jax()(weights, features))


def assert_within_shot_error(found, expected):
    """Every value within 5 standard errors, and their spread that of a normal distribution."""
    deviation = (found.values - expected) / found.standard_errors
    assert np.max(np.abs(deviation)) < 5
    assert 0.5 < np.sqrt(np.mean(deviation**2)) < 1.5


@pytest.mark.parametrize("primitive", ["estimator", "sampler"])
def test_shots_of_the_ideal_circuit(circuit, inputs, exact, primitive):
    compiled = compile_for(circuit, open_backend("aer"))
    found = estimate(compiled, *inputs, shots=SHOTS, seed=3, primitive=primitive)
    assert found.values.shape == exact.shape == (5, 6)
    assert found.values.dtype == found.standard_errors.dtype == np.float64
    assert_within_shot_error(found, exact)
    again = estimate(compiled, *inputs, shots=SHOTS, seed=3, primitive=primitive)
    np.testing.assert_array_equal(again.values, found.values)
    assert found.job_ids != again.job_ids
    assert len(found.job_ids) == 1
    assert found.shots == SHOTS
    assert json.loads(json.dumps(found.metadata))["primitive"] == primitive


@pytest.mark.parametrize("primitive", ["estimator", "sampler"])
def test_noise_is_that_of_our_engine(on_manila, inputs, exact, noisy, primitive):
    found = estimate(on_manila, *inputs, shots=SHOTS, seed=5, primitive=primitive)
    assert_within_shot_error(found, noisy)
    with pytest.raises(AssertionError):
        assert_within_shot_error(found, exact)


def test_one_job_for_the_whole_batch_and_only_the_used_qubits(monkeypatch):
    compiled = compile_for(radhi2025(3, 2), open_backend("fake_sherbrooke"), num_tries=1)
    widths = []
    simulator = Backend.simulator

    def counted(self, qubits):
        widths.append(len(qubits))
        return simulator(self, qubits)

    monkeypatch.setattr(Backend, "simulator", counted)
    rng = np.random.default_rng(2)
    found = estimate(compiled, rng.uniform(0, 6, (2, 3)), rng.normal(size=(40, 3)), shots=16)
    assert found.values.shape == (40, 3)
    assert len(found.job_ids) == 1
    assert widths == [3]


@pytest.mark.parametrize("mode", ["batch", "session"])
def test_jobs_of_a_device_are_sent_within_the_mode(on_manila, monkeypatch, mode):
    opened = []

    class Opened:
        def __init__(self, backend):
            opened.append(backend)

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            opened.append("closed")

    monkeypatch.setattr(f"qiskit_ibm_runtime.{mode.title()}", Opened)
    with sending(on_manila.backend, mode) as within:
        assert within is None  # simulated here
    device = replace(on_manila.backend, name="ibm_manila", is_local=False)
    with sending(device, "job") as within:
        assert within is None
    assert not opened
    with sending(device, mode) as within:
        assert isinstance(within, Opened)
    assert opened == [device.device, "closed"]

    def refuse(backend):
        raise RuntimeError("token=not-a-real-token: the open plan has none")

    monkeypatch.setattr(f"qiskit_ibm_runtime.{mode.title()}", refuse)
    with (
        pytest.raises(HardwareError, match=f"did not take the {mode} .RuntimeError") as caught,
        sending(device, mode),
    ):
        pass
    assert "not-a-real-token" not in str(caught.value)


def test_probabilities_are_sampled_and_expectations_estimated(on_manila, inputs):
    def primitive(measurement):
        compiled = compile_for(
            compose(2, 1, measurement=measurement), open_backend("aer"), num_tries=1
        )
        weights = np.zeros(compiled.source.weights_shape)
        return requests(compiled, weights, np.zeros((1, 2)))[0].primitive

    assert primitive("probabilities") == "sampler"
    assert {primitive(name) for name in ("z", "zz", "xyz", "parity")} == {"estimator"}
    assert requests(on_manila, *inputs)[0].primitive == "sampler"
    assert requests(on_manila, *inputs, primitive="estimator")[0].primitive == "estimator"


def test_large_batches_are_divided_on_devices_only(on_manila, inputs, monkeypatch):
    weights, features = inputs
    # Three bases: X, Y and Z meet on wires 0 and 1.
    bases = plan(on_manila, 1, shots=10)["bases"]
    monkeypatch.setattr(execution, "MAX_EXECUTIONS", 2 * 10 * bases)
    assert len(requests(on_manila, weights, features, shots=10)) == 1
    device = Backend("ibm_manila", on_manila.backend.device, is_local=False)
    remote = compile_for(on_manila.source, device, num_tries=1)
    parts = requests(remote, weights, features, shots=10, seed=7)
    assert [len(part.features) for part in parts] == [2, 2, 1]
    assert [part.seed for part in parts] == [7, 8, 9]
    np.testing.assert_array_equal(np.concatenate([p.features for p in parts]), features)
    assert plan(remote, 5, shots=10)["jobs"] == 3


def test_plan_tells_what_it_costs_and_sends_nothing(on_manila, monkeypatch):
    monkeypatch.setattr(execution.JobRequest, "submit", None)
    short = plan(on_manila, 8, shots=1000)
    long = plan(on_manila, 16, shots=1000, mitigation=Mitigation(zne=True))
    assert json.loads(json.dumps(short)) == short
    assert short["circuits"] == 8 * short["bases"]
    assert short["total_shots"] == 1000 * short["circuits"]
    assert long["total_shots"] == 6 * short["total_shots"]
    # 250 µs between repetitions are the least that an execution takes.
    assert short["qpu_seconds"] > 2 + 250e-6 * short["total_shots"]
    assert 6 < (long["qpu_seconds"] - 2) / (short["qpu_seconds"] - 2) < 18
    ideal = compile_for(on_manila.source, open_backend("statevector"))
    assert plan(ideal, 8)["qpu_seconds"] is None
    assert plan(ideal, 8)["total_shots"] == 0


def test_hash_of_a_request(circuit, inputs, on_manila):
    weights, features = inputs

    def digest(compiled=on_manila, w=weights, x=features, **options):
        return requests(compiled, w, x, **options)[0].digest

    reference = digest()
    assert digest() == reference
    again = compile_for(circuit, open_backend("fake_manila"), initial_layout=[3, 1, 2])
    assert digest(again) == reference
    others = [
        digest(w=weights + 1e-6),
        digest(x=features[:4]),
        digest(x=features[::-1]),
        digest(shots=4095),
        digest(seed=1),
        digest(primitive="estimator"),
        digest(mitigation=Mitigation(readout=True)),
        digest(compile_for(circuit, open_backend("aer"))),
        digest(compile_for(circuit, open_backend("fake_manila"), initial_layout=[1, 2, 3])),
    ]
    assert len({reference, *others}) == len(others) + 1


def test_bad_requests(on_manila, inputs):
    weights, features = inputs
    with pytest.raises(HardwareError, match="shots=0; expected at least 1"):
        requests(on_manila, weights, features, shots=0)
    with pytest.raises(HardwareError, match=r"^0 samples"):
        requests(on_manila, weights, features[:0])
    with pytest.raises(HardwareError, match="switch zne off"):
        requests(on_manila, weights, features, mitigation=Mitigation(zne=True))
    exact, ideal = (compile_for(on_manila.source, open_backend(n)) for n in ("statevector", "aer"))
    with pytest.raises(HardwareError, match="statevector has no errors to mitigate"):
        requests(exact, weights, features, mitigation=Mitigation(readout=True))
    with pytest.raises(HardwareError, match="aer has no durations"):
        requests(ideal, weights, features, mitigation=Mitigation(dynamical_decoupling=True))
    with pytest.raises(HardwareError, match="aer has no noise"):
        noisy_circuit(ideal)
    large = compile_for(radhi2025(17, 1), open_backend("fake_sherbrooke"), num_tries=1)
    with pytest.raises(HardwareError, match="at most 16, evaluate with primitive='estimator'"):
        estimate(large, np.zeros((1, 17)), np.zeros((1, 4)), primitive="sampler")


def test_refused_jobs_do_not_quote_the_service(on_manila, inputs, monkeypatch):
    device = Backend("ibm_manila", on_manila.backend.device, is_local=False)
    remote = compile_for(on_manila.source, device, num_tries=1)

    def refuse(*args):
        raise ConnectionError("token=not-a-real-token\nquota")

    monkeypatch.setattr(execution.JobRequest, "_primitive", refuse)
    with pytest.raises(HardwareError, match=r"did not take the job .ConnectionError") as caught:
        estimate(remote, *inputs)
    assert "token=" not in str(caught.value)
    assert "\n" not in str(caught.value)
