"""What is computed from two arms' answers."""

import numpy as np
import pytest

from hqnn_jax.hardware_evaluation.results import paired_interval


def test_paired_intervals_are_newcombes():
    # An example of Newcombe 1998, method 10.
    np.testing.assert_allclose(paired_interval(36, 12, 2, 0), [0.0569, 0.3404], atol=5e-5)
    low, high = paired_interval(250, 0, 2, 4)
    assert low < -2 / 256 < 0 < high
    assert paired_interval(100, 0, 0, 0)[1] == pytest.approx(0.037, abs=1e-3)
    swapped = paired_interval(30, 3, 9, 8)
    np.testing.assert_allclose(paired_interval(30, 9, 3, 8), [-swapped[1], -swapped[0]])
