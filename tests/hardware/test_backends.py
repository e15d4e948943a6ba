"""Backends by name, their calibration data, and what their errors say."""

import json

import pytest
import qiskit_ibm_runtime
from qiskit_ibm_runtime.accounts.exceptions import AccountNotFoundError
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from hqnn_jax.errors import HardwareError
from hqnn_jax.hardware.backends import calibration, open_backend, open_service, reduced_target

TOKEN = "not-a-real-token-5f2c"


class Service:
    """An account with one device."""

    def backend(self, name):
        if name != "ibm_manila":
            raise ValueError(f"no {name} for {TOKEN}")
        return FakeManilaV2()

    def backends(self):
        device = FakeManilaV2()
        device.name = "ibm_manila"
        return [device]


@pytest.fixture
def account(monkeypatch):
    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)
    monkeypatch.setattr(qiskit_ibm_runtime, "QiskitRuntimeService", Service)


@pytest.fixture
def no_account(monkeypatch):
    def missing():
        raise AccountNotFoundError(f"Unable to find account {TOKEN}")

    monkeypatch.setattr(qiskit_ibm_runtime, "QiskitRuntimeService", missing)


@pytest.mark.parametrize(
    ("name", "device", "is_local", "is_exact"),
    [
        ("statevector", None, True, True),
        ("aer", None, True, False),
        ("fake_manila", "fake_manila", True, False),
        ("aer:fake_manila", "fake_manila", True, False),
        ("ibm_manila", "fake_manila", False, False),
        ("aer:ibm_manila", "fake_manila", True, False),
    ],
)
@pytest.mark.usefixtures("account")
def test_names(name, device, is_local, is_exact):
    backend = open_backend(name)
    assert (backend.name, backend.is_local, backend.is_exact) == (name, is_local, is_exact)
    assert (backend.device and backend.device.name) == device


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("name", ["ibm_manilla", "fake_mannila", "aer:fake_mannila"])
def test_unknown_names_get_the_closest_ones_and_no_token(name):
    with pytest.raises(HardwareError, match="closest: ") as caught:
        open_backend(name)
    assert ("ibm_manila" if name.startswith("ibm") else "fake_manila") in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("no_account")
def test_without_account_the_error_says_how_to_save_one():
    with pytest.raises(HardwareError, match=r"no IBM Quantum account.*save_account") as caught:
        open_backend("ibm_torino")
    assert TOKEN not in str(caught.value)


def test_errors_of_the_service_do_not_quote_it(monkeypatch):
    def broken():
        raise RuntimeError(f"401 for {TOKEN}")

    monkeypatch.setattr(qiskit_ibm_runtime, "QiskitRuntimeService", broken)
    with pytest.raises(HardwareError, match="RuntimeError") as caught:
        open_service()
    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is None


def test_calibration_is_that_of_the_target():
    backend = open_backend("fake_manila")
    data = calibration(backend, [3, 2, 0])
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["date"].startswith("20")
    target = backend.device.target
    first = data["qubits"][0]
    assert first["qubit"] == 3
    assert first["t1"] == target.qubit_properties[3].t1
    assert first["readout_error"] == target["measure"][3,].error
    assert first["gate_errors"]["sx"] == target["sx"][3,].error
    pairs = {tuple(pair["qubits"]): pair for pair in data["pairs"]}
    assert set(pairs) == {(2, 3), (3, 2)}
    assert pairs[2, 3]["error"] == target["cx"][2, 3].error
    assert calibration(open_backend("aer"), [0])["qubits"] == []


def test_reduced_target_renumbers_qubits():
    target = FakeManilaV2().target
    reduced = reduced_target(target, [3, 1, 2])
    assert reduced.num_qubits == 3
    assert set(reduced["cx"]) == {(0, 2), (2, 0), (1, 2), (2, 1)}
    assert reduced["cx"][0, 2].error == target["cx"][3, 2].error
    assert reduced.qubit_properties[1].t2 == target.qubit_properties[1].t2
    assert reduced["measure"][0,].error == target["measure"][3,].error
