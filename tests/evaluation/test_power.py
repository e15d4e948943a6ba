"""What a study could have detected is found in 80 of 100 studies by the rule itself."""

import itertools

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from hqnn_jax.evaluation import power
from hqnn_jax.evaluation.comparison import adjust, compare
from hqnn_jax.evaluation.power import detectable_differences


def _p_values(studies):
    """Permutation p-values along the last axis, all choices of signs multiplied out."""
    signs = np.array(list(itertools.product((1, -1), repeat=studies.shape[-1])))
    sums = np.abs(studies @ signs.T)
    return np.mean(sums >= sums[..., :1] * (1 - 1e-12), axis=-1)


def _holm_rejects(p_values, which, alpha) -> bool:
    """Step down from the smallest p-value until one is not significant."""
    for step, index in enumerate(np.argsort(p_values)):
        if p_values[index] >= alpha / (len(p_values) - step):
            return False
        if index == which:
            return True
    raise AssertionError("the comparison is one of them")


def _share_found(differences, which, delta, *, studies=400, alpha=0.05):
    """Share of simulated studies in which Holm's correction rejects one comparison."""
    rng = np.random.default_rng(99)
    means = differences.mean(axis=1)
    means[which] = delta
    covariance = np.cov(differences)
    drawn = rng.multivariate_normal(
        means, np.atleast_2d(covariance), (studies, differences.shape[1])
    )
    p_values = _p_values(np.swapaxes(drawn, 1, 2))
    return np.mean([_holm_rejects(row, which, alpha) for row in p_values])


@pytest.mark.parametrize(("comparisons", "seeds"), [(1, 6), (3, 9), (7, 10)])
def test_the_detectable_difference_is_found_in_80_of_100_studies(comparisons, seeds):
    rng = np.random.default_rng(comparisons)
    shared = rng.normal(0, 0.01, seeds)  # the luck of the common reference
    differences = shared + rng.normal(0, 0.01, (comparisons, seeds))
    differences += np.linspace(0, 0.03, comparisons)[:, None]  # some are there, some are not
    found = detectable_differences(differences, num_comparisons=comparisons, alpha=0.05)
    which = comparisons // 2
    # Both simulations have a standard error: 0.02 of 400 studies, 0.013 of 1000.
    assert _share_found(differences, which, found[which]) == pytest.approx(0.8, abs=0.065)
    assert _share_found(differences, which, 0.6 * found[which]) < 0.7


def test_one_comparison_is_close_to_the_t_test():
    rng = np.random.default_rng(5)
    for seeds, allowed in ((12, 0.05), (20, 0.03)):
        differences = rng.normal(0, 0.01, (1, seeds))
        (found,) = detectable_differences(differences, num_comparisons=1, alpha=0.05)
        effect = found / differences.std(ddof=1)
        assert effect == pytest.approx(
            TTestPower().solve_power(nobs=seeds, alpha=0.05, power=0.8), rel=allowed
        )


def test_more_comparisons_need_larger_differences_and_findings_relieve_the_others():
    differences = np.random.default_rng(6).normal(0, 0.01, (4, 10))
    differences -= differences.mean(axis=1, keepdims=True)
    alone = detectable_differences(differences[:1], num_comparisons=1, alpha=0.05)
    among = detectable_differences(differences, num_comparisons=4, alpha=0.05)
    assert among[0] > 1.15 * alone[0]
    # Three comparisons found for certain leave Holm's last step, which corrects nothing.
    beside = differences + np.array([0.0, 1, 1, 1])[:, None]
    relieved = detectable_differences(beside, num_comparisons=4, alpha=0.05)
    assert relieved[0] == pytest.approx(alone[0], rel=0.05)
    undefined = detectable_differences(differences[:1], num_comparisons=4, alpha=0.05)
    assert undefined[0] == pytest.approx(among[0], rel=0.06)


def test_size_scales_with_the_spread_and_the_mirror_image_is_equal():
    differences = np.random.default_rng(7).normal(0.002, 0.01, (3, 9))
    found = detectable_differences(differences, num_comparisons=3, alpha=0.05)
    assert detectable_differences(50 * differences, num_comparisons=3, alpha=0.05) == pytest.approx(
        50 * found, rel=1e-4
    )
    mirrored = detectable_differences(-differences, num_comparisons=3, alpha=0.05)
    assert mirrored == pytest.approx(found, rel=1e-4)
    again = detectable_differences(differences, num_comparisons=3, alpha=0.05)
    assert again.tolist() == found.tolist()


def test_too_few_seeds_detect_nothing_and_no_spread_detects_everything():
    differences = np.random.default_rng(8).normal(0, 0.01, (2, 6))
    assert np.isinf(detectable_differences(differences, num_comparisons=2, alpha=0.05)).all()
    assert detectable_differences(np.full((1, 6), 0.01), num_comparisons=1, alpha=0.05) == [0.0]


def test_where_choices_are_too_many_the_t_test_stands_in(monkeypatch):
    differences = np.random.default_rng(9).normal(0, 0.01, (3, 12))
    exact = detectable_differences(differences, num_comparisons=3, alpha=0.05)
    monkeypatch.setattr(power, "_MOST_SUMS", 0)
    by_t = detectable_differences(differences, num_comparisons=3, alpha=0.05)
    assert by_t == pytest.approx(exact, rel=0.08)
    assert by_t.tolist() != exact.tolist()


def test_adjust_says_what_a_study_could_have_detected():
    rng = np.random.default_rng(10)
    values = rng.normal(0.9, 0.01, (3, 8))
    nothing = np.zeros((8, 2), int)

    def against(reference):
        return compare(values[0], reference, nothing, nothing, nothing[0])

    undefined = values[2].copy()
    undefined[3] = np.nan
    study = adjust({"a": against(values[1]), "b": against(undefined)}, level=0.9)
    assert np.isnan(study["b"].detectable)
    expected = detectable_differences((values[0] - values[1])[None], num_comparisons=2, alpha=0.1)
    assert study["a"].detectable == pytest.approx(expected[0])
