"""Tables for other programs."""

import csv

import pytest

from hqnn_jax.reporting import exports


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-2+3", "'-2+3"),
        ("\tindented", "'\tindented"),
        ("-0.25", "-0.25"),
        ("+1e-3", "+1e-3"),
        (-0.25, "-0.25"),
        (-3, "-3"),
        (None, ""),
        ("a=b", "a=b"),
    ],
)
def test_no_cell_of_a_csv_file_is_a_formula(value, expected):
    text = exports.to_csv(("=axis", "b"), [{"=axis": value, "b": 1}])
    rows = list(csv.reader(text.splitlines()))
    assert rows == [["'=axis", "b"], [expected, "1"]]
