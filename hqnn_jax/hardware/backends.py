"""Backends by name: exact simulation, shots, the noise of a device, and devices themselves."""

from __future__ import annotations

import difflib
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hqnn_jax.errors import ConfigurationError, HardwareError

if TYPE_CHECKING:
    from qiskit.providers import BackendV2
    from qiskit.transpiler import Target
    from qiskit_aer import AerSimulator

# A density matrix of n qubits costs 4^n once, trajectories cost shots · 2^n.
_MAX_DENSITY_QUBITS = 9
_SAVE_ACCOUNT = (
    "save an account once with QiskitRuntimeService.save_account(token=..., instance=..., "
    "set_as_default=True) of qiskit_ibm_runtime, or set QISKIT_IBM_TOKEN and QISKIT_IBM_INSTANCE"
)


@dataclass(frozen=True, eq=False)
class Backend:
    """Where circuits run.

    Attributes:
        name: the name it was opened by.
        device: the device that circuits are compiled for; None where any gate on any qubits can
            be run.
        is_local: whether circuits are simulated here, and nothing is sent anywhere.
    """

    name: str
    device: BackendV2 | None
    is_local: bool = True

    @property
    def is_exact(self) -> bool:
        """Whether values are exact, so that numbers of shots mean nothing."""
        return self.name == "statevector"

    def simulator(self, qubits: Sequence[int]) -> AerSimulator:
        """Return Aer for some of the device's qubits, renumbered from 0 in the given order.

        It has the noise of `qiskit_aer.noise.NoiseModel.from_backend`: after gates, in delays and
        in the readout, none on qubits that idle without a delay. Simulating only the qubits in use
        keeps whatever acts on "all qubits" (resets, twirled measurements) from acting on 127.

        Raises:
            HardwareError: the device has too few qubits.
        """
        from qiskit_aer import AerSimulator
        from qiskit_aer.noise import NoiseModel

        if self.device is None:
            return AerSimulator(method="statevector")
        target = reduced_target(self.device.target, qubits)
        method = "density_matrix" if len(qubits) <= _MAX_DENSITY_QUBITS else "automatic"
        noise = NoiseModel.from_backend(_of_target(target, self.name))
        return AerSimulator(target=target, noise_model=noise, method=method)


def open_backend(name: str) -> Backend:
    """Open a backend.

    - `statevector`: exact values, without shots.
    - `aer`: shots of the ideal circuit.
    - `aer:DEVICE`: shots with the noise of a fake or real device as it is calibrated now.
    - `fake_sherbrooke` and all other fake backends of qiskit-ibm-runtime: the same with a stored
      snapshot of a device.
    - any other name: a device of the user's IBM Quantum account.

    Credentials are those of Qiskit's saved account or of its environment variables; they appear
    in no message of this package.

    Raises:
        ConfigurationError: Qiskit is not installed.
        HardwareError: there is no such backend, no account, or no connection.
    """
    _require_qiskit()
    if name in {"statevector", "aer"}:
        return Backend(name, None)
    if name.startswith("aer:"):
        return Backend(name, _device(name.removeprefix("aer:")))
    device = _device(name)
    return Backend(name, device, is_local=name in _fake_devices())


def open_service() -> Any:
    """Return the `QiskitRuntimeService` of the user's account.

    Raises:
        ConfigurationError: Qiskit is not installed.
        HardwareError: there is no account, or no connection.
    """
    _require_qiskit()
    import qiskit_ibm_runtime
    from qiskit_ibm_runtime.accounts.exceptions import AccountNotFoundError

    # Texts of these errors may quote tokens, instances or URLs, so none of them is passed on.
    try:
        return qiskit_ibm_runtime.QiskitRuntimeService()
    except AccountNotFoundError:
        reason = f"no IBM Quantum account on this machine; {_SAVE_ACCOUNT}"
    except Exception as error:
        reason = (
            f"cannot open the IBM Quantum account ({type(error).__name__}); check the connection "
            f"and the account's token and instance, or {_SAVE_ACCOUNT}"
        )
    raise HardwareError(reason)


def calibration(backend: Backend, qubits: Sequence[int]) -> dict[str, Any]:
    """Return the calibration data of some qubits of a device, ready for JSON.

    Returns:
        `backend`, `date` (ISO 8601, None if unknown), and for each qubit `qubit`, `t1` and `t2` in
        seconds, `readout_error`, `gate_errors` by name of gate; for each pair of these qubits that
        the device couples, `pairs` with `qubits`, `gate`, `error`, `duration` in seconds. Values
        the device does not report are None. Without a device, only the name.
    """
    if backend.device is None:
        return {"backend": backend.name, "date": None, "qubits": [], "pairs": []}
    target = backend.device.target
    properties = getattr(backend.device, "properties", lambda: None)()
    date = getattr(properties, "last_update_date", None)
    return {
        "backend": backend.name,
        "device": backend.device.name,
        "date": None if date is None else date.isoformat(),
        "qubits": [_qubit_calibration(target, qubit) for qubit in qubits],
        "pairs": [
            {
                "qubits": list(pair),
                "gate": name,
                "error": _number(getattr(target[name][pair], "error", None)),
                "duration": _number(getattr(target[name][pair], "duration", None)),
            }
            for name in sorted(target.operation_names)
            for pair in sorted(target[name] or {}, key=str)
            if pair is not None and len(pair) == 2 and set(pair) <= set(qubits)
        ],
    }


def reduced_target(target: Target, qubits: Sequence[int]) -> Target:
    """Return the part of a device that consists of some qubits, renumbered in the given order."""
    from qiskit.transpiler import Target

    place = {qubit: position for position, qubit in enumerate(qubits)}
    known = target.qubit_properties
    reduced = Target(
        num_qubits=len(place),
        dt=target.dt,
        granularity=target.granularity,
        pulse_alignment=target.pulse_alignment,
        acquire_alignment=target.acquire_alignment,
        qubit_properties=None if known is None else [known[qubit] for qubit in qubits],
    )
    for name in target.operation_names:
        properties = {
            tuple(place[qubit] for qubit in where): values
            for where, values in (target[name] or {}).items()
            if where is not None and set(where) <= set(place)
        }
        # Control flow has no qubits of its own; compiled circuits here have none.
        if properties:
            reduced.add_instruction(target.operation_from_name(name), properties, name=name)
    return reduced


def _require_qiskit() -> None:
    for package in ("qiskit", "qiskit_aer", "qiskit_ibm_runtime"):
        if importlib.util.find_spec(package) is None:
            raise ConfigurationError(
                f"running circuits on backends needs {package}; pip install hqnn-jax[qiskit]"
            )


def _fake_devices() -> dict[str, Any]:
    """Classes of the fake backends by the name of the backend."""
    from qiskit_ibm_runtime import fake_provider
    from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2

    return {
        name: value
        for value in vars(fake_provider).values()
        if isinstance(value, type) and issubclass(value, FakeBackendV2)
        if (name := getattr(value, "backend_name", None))
    }


def _device(name: str) -> BackendV2:
    fakes = _fake_devices()
    if name in fakes:
        return fakes[name]()
    known = ["statevector", "aer", *fakes]
    try:
        service = open_service()
    except HardwareError as error:
        raise HardwareError(f"{_unknown(name, known)}, and {error}") from None
    try:
        return service.backend(name)
    except Exception as error:
        # What service errors say may name the account; its devices are listed instead.
        kind = type(error).__name__
    try:
        known += [device.name for device in service.backends()]
    except Exception as error:
        kind = type(error).__name__
    raise HardwareError(
        f"{_unknown(name, known)}, and the account does not give it ({kind}); check the name and "
        "the connection"
    )


def _unknown(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"; closest: {', '.join(close)}" if close else ""
    return f"backend {name!r} is none of statevector, aer, aer:DEVICE and the fake backends{hint}"


def _qubit_calibration(target: Target, qubit: int) -> dict[str, Any]:
    properties = (target.qubit_properties or {qubit: None})[qubit]
    errors = {
        name: getattr(places[(qubit,)], "error", None)
        for name in target.operation_names
        if (places := target[name]) and (qubit,) in places
    }
    return {
        "qubit": int(qubit),
        "t1": _number(getattr(properties, "t1", None)),
        "t2": _number(getattr(properties, "t2", None)),
        "readout_error": _number(errors.pop("measure", None)),
        "gate_errors": {
            name: _number(error) for name, error in sorted(errors.items()) if error is not None
        },
    }


def _number(value: float | None) -> float | None:
    """JSON has no infinity."""
    return None if value is None or not math.isfinite(value) else float(value)


def _of_target(target: Target, name: str) -> BackendV2:
    """A backend that is nothing but its target, which is how Aer takes a noise model."""
    from qiskit.providers import BackendV2, Options

    class TargetOnly(BackendV2):
        target = property(lambda self: target)
        max_circuits = None

        @classmethod
        def _default_options(cls) -> Options:
            return Options()

        def run(self, run_input: Any, **options: Any) -> Any:
            raise NotImplementedError

    return TargetOnly(name=name)
