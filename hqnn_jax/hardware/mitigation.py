"""Error mitigation and suppression, each switchable, as options of IBM's primitives.

The primitives are those of `qiskit_ibm_runtime.executor_estimator` and `executor_sampler`, which
prepare and evaluate everything on this machine. So the same code mitigates on a device and on its
simulation, where the older `EstimatorV2` ignores these options:

- readout: with the estimator, TREX (twirled readout, arXiv:2012.09738) against a calibration
  circuit of the same job; with the sampler, the inverse of each qubit's measured confusion
  matrix, see `execution`;
- dynamical decoupling: X pulses on idle qubits. Aer's noise has neither noise on idle qubits that
  have no delay nor any that pulses could undo, so in simulation it only adds noise;
- twirling: random Paulis around two-qubit gates (arXiv:1512.01098);
- zero-noise extrapolation: two-qubit gates are folded and values extrapolated to none
  (arXiv:1612.02058, arXiv:2005.10921). Only with the estimator.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from hqnn_jax.errors import HardwareError

_DEGREES = {"linear": 1, "quadratic": 2}


@dataclass(frozen=True)
class Mitigation:
    """What is done against errors; nothing by default.

    Attributes:
        readout: undo errors of the readout.
        dynamical_decoupling: pulses on idle qubits.
        twirling: random Paulis around two-qubit gates, and flips before the readout.
        zne: zero-noise extrapolation.
        noise_factors: how often each two-qubit gate is there when extrapolating; odd numbers fold
            all gates equally.
        extrapolator: polynomial fitted to values by noise factor, least squares; `quadratic` with
            three factors is Richardson's extrapolation. Runtime's exponential is left out: where
            a value changes its sign or is near 0 it does not fit.
        num_randomizations: twirled versions of the circuit that share the shots; None leaves it
            to Runtime, which takes 32.

    Raises:
        HardwareError: fewer than two noise factors, or one below 1; no randomization.
    """

    readout: bool = False
    dynamical_decoupling: bool = False
    twirling: bool = False
    zne: bool = False
    noise_factors: tuple[float, ...] = (1.0, 3.0, 5.0)
    extrapolator: Literal["linear", "quadratic"] = "linear"
    num_randomizations: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        needed = _DEGREES[self.extrapolator] + 1
        factors = self.noise_factors
        if len(set(factors)) < needed or min(factors) < 1 or factors[0] != 1:
            raise HardwareError(
                f"Mitigation.noise_factors={factors}; expected at least {needed} different "
                f"factors, the first 1, for the extrapolator {self.extrapolator!r}"
            )
        if self.num_randomizations is not None and self.num_randomizations < 1:
            raise HardwareError(
                f"Mitigation.num_randomizations={self.num_randomizations}; expected at least 1"
            )

    @property
    def is_none(self) -> bool:
        """Whether nothing is done."""
        return not (self.readout or self.dynamical_decoupling or self.twirling or self.zne)

    @property
    def executions_per_circuit(self) -> int:
        """Executions that take the place of one without extrapolation."""
        return len(self.noise_factors) if self.zne else 1

    def extrapolate(
        self,
        values: Float[np.ndarray, "*shape factors"],
        standard_errors: Float[np.ndarray, "*shape factors"],
    ) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
        """Extrapolate values by noise factor to none; also the standard errors of the results.

        Runtime's own standard errors are those of the fit's residuals, which are too small for
        three points and ignore the shots.
        """
        degree = _DEGREES[self.extrapolator]
        powers = np.vander(np.asarray(self.noise_factors, float), degree + 1, increasing=True)
        weights = np.linalg.pinv(powers)[0]
        return values @ weights, np.sqrt(standard_errors**2 @ weights**2)

    def label(self) -> str:
        """A short name for tables: `none`, or what is on, joined by `+`."""
        names = ("readout", "dynamical_decoupling", "twirling", "zne")
        return "+".join(name for name in names if getattr(self, name)) or "none"

    def settings(self) -> dict[str, Any]:
        """All attributes, ready for JSON."""
        return asdict(self) | {"noise_factors": list(self.noise_factors)}

    def estimator_options(self, shots: int, seed: int | None) -> dict[str, Any]:
        """Options of `executor_estimator.EstimatorV2`; `seed` is for simulators."""
        resilience: dict[str, Any] = {
            "measure_mitigation": self.readout,
            "zne_mitigation": self.zne,
        }
        if self.zne:
            resilience["zne"] = {
                "amplifier": "gate_folding",
                "noise_factors": list(self.noise_factors),
                "extrapolator": f"polynomial_degree_{_DEGREES[self.extrapolator]}",
            }
        return {
            **self._common_options(shots, seed),
            "resilience_level": 0,
            "resilience": resilience,
        }

    def sampler_options(self, shots: int, seed: int | None) -> dict[str, Any]:
        """Options of `executor_sampler.SamplerV2`; readout errors are undone by `execution`.

        Raises:
            HardwareError: zero-noise extrapolation, which works on expectation values.
        """
        if self.zne:
            raise HardwareError(
                "zero-noise extrapolation works on expectation values, not on probabilities; "
                "switch zne off, or evaluate with primitive='estimator'"
            )
        return self._common_options(shots, seed)

    def _common_options(self, shots: int, seed: int | None) -> dict[str, Any]:
        twirling: dict[str, Any] = {
            "enable_gates": self.twirling,
            # TREX is made of twirled readouts.
            "enable_measure": self.twirling or self.readout,
        }
        if self.num_randomizations is not None:
            twirling["num_randomizations"] = self.num_randomizations
        return {
            "default_shots": shots,
            "dynamical_decoupling": {"enable": self.dynamical_decoupling},
            "twirling": twirling,
            # Angles are otherwise rounded to 5 decimals of π/2.
            "simulator": {"seed_simulator": seed, "angle_decimals": 14},
        }
