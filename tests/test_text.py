"""Words of messages."""

import pytest

from hqnn_jax.text import closest, did_you_mean, one_line, plural


@pytest.mark.parametrize(("count", "text"), [(0, "0 seeds"), (1, "1 seed"), (8, "8 seeds")])
def test_counts_agree_with_their_nouns(count, text):
    assert plural(count, "seed") == text


def test_foreign_text_is_one_line_and_not_endless():
    assert one_line(ValueError(" a\n\tb ")) == "a b"
    assert one_line("x" * 9, 10) == "x" * 9
    assert one_line("x" * 11, 10) == "x" * 10 + "…"


def test_the_closest_name_is_found_in_any_case_and_always_if_need_be():
    assert closest("acuracy", ["accuracy", "roc_auc"]) == "accuracy"
    assert closest("MYO", ["Myo", "EOS"]) is None
    assert closest("MYO", ["Myo", "EOS"], any_case=True) == "Myo"
    assert closest("?", ["a"]) is None
    assert closest("?", ["a"], cutoff=0.0) == "a"
    assert did_you_mean("acuracy", ["accuracy"]) == "did you mean 'accuracy'? "
    assert did_you_mean("?", ["accuracy"]) == ""
