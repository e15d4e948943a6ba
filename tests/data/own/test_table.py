"""Tables of files and labels."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.data.own.conftest import HALVES, error_of, load


@pytest.fixture
def make_table(make_images):
    """Write a table beside images; `make_table(label=[...], ...)` returns its path."""

    def make(name="cells.csv", **columns):
        number = len(columns["label"])
        root = make_images(*(f"images/{k}.png" for k in range(number)))
        columns = {"path": [f"images/{k}.png" for k in range(number)], **columns}
        path = root / name
        if name.endswith("parquet"):
            pyarrow.parquet.write_table(pa.table(columns), path)
        else:
            between = "\t" if name.endswith("tsv") else ","
            rows = [columns, *zip(*columns.values(), strict=True)]
            path.write_text("\n".join(between.join(map(str, row)) for row in rows) + "\n")
        return path

    return make


LABELS = ["b", "a"] * 8


def refused(path, **keys):
    return error_of(load, "table", path, **keys)


@pytest.mark.parametrize("name", ["cells.csv", "cells.tsv", "cells.parquet"])
def test_a_table_names_files_from_its_own_folder(make_table, name):
    dataset = load("table", make_table(name, label=LABELS))
    assert dataset.class_names == ("a", "b")
    assert dataset.name == name
    for split, files in dataset.files.items():
        numbers = [int(file.removeprefix("images/").removesuffix(".png")) for file in files]
        np.testing.assert_array_equal(dataset.splits()[split].labels, [1 - n % 2 for n in numbers])


def test_whole_numbers_come_in_their_order(make_table):
    dataset = load("table", make_table("cells.parquet", label=[10, 9, 2] * 6))
    assert dataset.class_names == ("2", "9", "10")


def test_the_columns_split_group_and_weight(make_table):
    split = ["train"] * 8 + ["val"] * 4 + ["test"] * 4
    group = [f"p{k // 3}" for k in range(16)]
    path = make_table(label=LABELS, split=split, group=group, weight=[1 + k for k in range(16)])
    dataset = load("table", path)
    assert [len(split) for split in dataset.splits().values()] == [8, 4, 4]
    np.testing.assert_array_equal(dataset.validation.weights, [9, 10, 11, 12])
    assert "1 groups have images in more than one split" in dataset.warnings
    apart = load("table", path, split={**HALVES, "method": "grouped"})
    patients = [{int(f[7:-4]) // 3 for f in files} for files in apart.files.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 6
    np.testing.assert_array_equal(
        apart.test.weights, [1 + int(file[7:-4]) for file in apart.files["test"]]
    )


def test_groups_of_another_column_are_kept_together_unasked(make_table):
    path = make_table(label=LABELS, patient=[k // 2 for k in range(16)])
    dataset = load("table", path, split={**HALVES, "group": "patient"})
    patients = [{int(f[7:-4]) // 2 for f in files} for files in dataset.files.values()]
    assert sum(map(len, patients)) == 8
    message = refused(path, split={**HALVES, "group": "pateint"})
    assert "no column 'pateint'; did you mean 'patient'? the table has: path, label" in message


def test_a_label_that_changes_needs_no_image_read_again(make_table, cache):
    path = make_table(label=LABELS)
    load("table", path)
    path.write_text(path.read_text().replace("0.png,b", "0.png,a"))
    dataset = load("table", path)
    assert len(list(cache.glob("tfds/table_*"))) == 1
    labels = {
        file: label
        for name, split in dataset.splits().items()
        for file, label in zip(dataset.files[name], split.labels.tolist(), strict=True)
    }
    assert labels["images/0.png"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("path,label", "file,label"), "no column 'path'; the table has: file, label"),
        (("path,label", "path,class"), "no column 'label'"),
        (("1.png,a", "1.png,"), "row 2 below the head: label is nothing, expected a value"),
        (("3.png", "typo.png"), "row 4 below the head: "),
        (("3.png", "typo.png"), "images/typo.png is not there"),
        (("3.png", "2.png"), "row 4 below the head: images/2.png is in row 3 already"),
        ((",a", ",b"), "column label: found only the class 'b'"),
        (("images/3.png", "images"), "is no file; expected an image"),
    ],
)
def test_tables_that_are_wrong(make_table, change, message):
    path = make_table(label=LABELS)
    path.write_text(path.read_text().replace(*change))
    assert str(path) in refused(path)
    assert message in refused(path)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("split", "holdout", "row 1 below the head: split is 'holdout', expected train, valid"),
        ("weight", "-1", "weight is '-1', expected a positive number"),
        ("weight", "nan", "weight is 'nan'"),
        ("group", "", "group is nothing"),
    ],
)
def test_cells_that_are_wrong(make_table, column, value, message):
    assert message in refused(make_table(label=LABELS, **{column: [value] * 16}))


def test_files_that_are_no_tables(tmp_path):
    for name, content in {
        "a.parquet": b"PAR1 and then nothing",
        "b.csv": b"path,label\na,b,c\n",
        "c.csv": b"",
        "d.csv": b"path,label\n\xff\xfe,b\n",
    }.items():
        (tmp_path / name).write_bytes(content)
        assert f"{tmp_path / name}: cannot be read" in refused(tmp_path / name)
    (tmp_path / "e.csv").write_text("path,label\n")
    assert "the table has no row" in refused(tmp_path / "e.csv")
    (tmp_path / "f.xlsx").write_bytes(b"PK")
    assert "expected a table whose name ends with .csv" in refused(tmp_path / "f.xlsx")
    assert "is a folder; expected a CSV or Parquet file" in refused(tmp_path)
    assert "set dataset.name=image_folder" in refused(tmp_path)
