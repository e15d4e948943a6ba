"""Analysis under `jit` and `vmap`, against the functions that need values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.circuits import analysis
from hqnn_jax.errors import CircuitError


def test_divergence_from_haar_is_that_of_the_histogram():
    rng = np.random.default_rng(2)
    # Multiples of a thousandth and a half are at no edge of a bin; 0 and 1 are in the last ones.
    fidelities = (rng.integers(0, 999, (3, 400)) + 0.5) / 1000
    fidelities[1] **= 3
    fidelities[2] = np.where(fidelities[2] < 0.5, 0.0, 1.0)
    divergence = jax.jit(jax.vmap(lambda row: analysis.divergence_from_haar(row, 3, num_bins=60)))
    found = divergence(jnp.asarray(fidelities, jnp.float32))
    expected = [analysis.fidelity_divergence(row, 3, num_bins=60).divergence for row in fidelities]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert len(set(np.round(expected, 3))) == 3


def test_local_effective_dimension_is_that_of_one_fisher_matrix():
    rng = np.random.default_rng(4)
    roots = rng.normal(size=(3, 5, 4))
    roots[1, 1:] = 0  # rank 1
    matrices = np.einsum("sri,srj->sij", roots, roots)
    dimension = jax.jit(jax.vmap(lambda m: analysis.local_effective_dimension(m, 5000, gamma=0.8)))
    found = dimension(jnp.asarray(matrices, jnp.float32))
    expected = [
        analysis.effective_dimension(matrix[None], 5000, gamma=0.8).normalized[0]
        for matrix in matrices
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    scale = 0.8 * 5000 / (2 * np.pi * np.log(5000))
    np.testing.assert_allclose(found[1], np.log(1 + 4 * scale) / (4 * np.log(scale)), rtol=1e-5)
    assert float(analysis.local_effective_dimension(jnp.zeros((4, 4)), 5000)) == 0
    with jax.enable_x64(True):
        for dtype in (jnp.float32, jnp.float64):
            matrix = jnp.asarray(matrices[2], dtype)
            single = analysis.local_effective_dimension(matrix, 5000, gamma=0.8)
            assert single.dtype == dtype
            tolerance = 1e-12 if dtype == jnp.float64 else 1e-5
            np.testing.assert_allclose(single, expected[2], rtol=tolerance)
    with pytest.raises(CircuitError, match=r"= 0\.\d+; expected more than 1: take more data"):
        analysis.local_effective_dimension(jnp.eye(4), 10)
