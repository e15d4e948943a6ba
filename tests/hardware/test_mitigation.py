"""Error mitigation on simulated devices: what is switched on brings values closer."""

import jax
import numpy as np
import pytest

from hqnn_jax.circuits import radhi2025
from hqnn_jax.errors import HardwareError
from hqnn_jax.hardware.backends import open_backend
from hqnn_jax.hardware.compilation import compile_for
from hqnn_jax.hardware.execution import estimate
from hqnn_jax.hardware.mitigation import Mitigation

SHOTS = 20_000


@pytest.fixture(scope="module")
def case():
    """A compiled circuit, its inputs, and its exact values."""
    circuit = radhi2025(3, 2)
    rng = np.random.default_rng(6)
    weights, features = rng.uniform(0, 6, (2, 3)), rng.uniform(-1, 1, (4, 3))
    with jax.enable_x64(True):
        exact = np.asarray(circuit.to_jax()(weights, features))
    return compile_for(circuit, open_backend("fake_manila")), weights, features, exact


def deviation(values, exact):
    return np.sqrt(np.mean((values - exact) ** 2))


@pytest.fixture(scope="module")
def unmitigated(case):
    compiled, weights, features, exact = case
    return deviation(estimate(compiled, weights, features, shots=SHOTS, seed=2).values, exact)


@pytest.mark.parametrize(
    ("mitigation", "primitive", "factor"),
    [
        (Mitigation(readout=True, num_randomizations=4), "estimator", 0.6),
        (Mitigation(readout=True), "sampler", 0.6),
        (Mitigation(zne=True), "estimator", 0.95),
        (Mitigation(zne=True, readout=True, num_randomizations=4), "estimator", 0.5),
    ],
    ids=["trex", "tensored", "zne", "both"],
)
def test_mitigation_brings_values_closer(case, unmitigated, mitigation, primitive, factor):
    compiled, weights, features, exact = case
    found = estimate(
        compiled, weights, features, shots=SHOTS, seed=2, mitigation=mitigation, primitive=primitive
    )
    assert deviation(found.values, exact) < factor * unmitigated
    # Below the noise that is left there is at least that of the shots.
    assert np.all(found.standard_errors > 0.1 / np.sqrt(SHOTS))
    if primitive == "sampler" or mitigation.zne:
        assert deviation(found.raw_values, exact) > deviation(found.values, exact)
    else:
        assert found.raw_values is None


@pytest.mark.parametrize(
    "mitigation",
    [Mitigation(dynamical_decoupling=True), Mitigation(twirling=True, num_randomizations=4)],
    ids=["decoupling", "twirling"],
)
def test_suppression_changes_the_circuits_and_not_the_values(case, unmitigated, mitigation):
    compiled, weights, features, exact = case
    for primitive in ("estimator", "sampler"):
        found = estimate(
            compiled, weights, features, shots=SHOTS, mitigation=mitigation, primitive=primitive
        )
        assert 0.5 * unmitigated < deviation(found.values, exact) < 1.5 * unmitigated


def test_extrapolation_is_exact_for_polynomials():
    for extrapolator, coefficients in (("linear", [0.7, -0.1]), ("quadratic", [0.7, -0.2, 0.01])):
        mitigation = Mitigation(
            zne=True, extrapolator=extrapolator, noise_factors=(1.0, 2.0, 3.0, 5.0)
        )
        factors = np.array(mitigation.noise_factors)
        values = np.polynomial.polynomial.polyval(factors, coefficients)
        found, error = mitigation.extrapolate(np.stack([values, -values]), np.full((2, 4), 0.01))
        np.testing.assert_allclose(found, [0.7, -0.7], atol=1e-12)
        assert np.all(error > 0.01)
    # Richardson's formula for factors 1, 2, 3: 3 E1 - 3 E2 + E3.
    richardson = Mitigation(zne=True, extrapolator="quadratic", noise_factors=(1.0, 2.0, 3.0))
    value, error = richardson.extrapolate(np.array([[0.5, 0.3, 0.2]]), np.array([[0.1, 0.2, 0.3]]))
    np.testing.assert_allclose(value, [0.8])
    np.testing.assert_allclose(error, [np.sqrt(0.09 + 0.36 + 0.09)])


def test_labels_and_bad_settings():
    assert Mitigation().label() == "none"
    assert Mitigation().is_none
    assert Mitigation(readout=True, zne=True).label() == "readout+zne"
    with pytest.raises(HardwareError, match="at least 2 different factors, the first 1"):
        Mitigation(zne=True, noise_factors=(1.0,))
    with pytest.raises(HardwareError, match="at least 3 different factors"):
        Mitigation(zne=True, extrapolator="quadratic", noise_factors=(1.0, 3.0))
    with pytest.raises(HardwareError, match="the first 1"):
        Mitigation(zne=True, noise_factors=(3.0, 1.0))
    with pytest.raises(HardwareError, match="num_randomizations=0"):
        Mitigation(num_randomizations=0)
