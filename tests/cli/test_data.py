"""`data inspect`; runs on a user's own images are in `test_own_images`."""

import json

import numpy as np
import PIL.Image
import pytest

from tests.cli.calls import SMALLEST, assert_one_error
from tests.command_line import call


@pytest.fixture
def cells(tmp_path):
    """A folder of two classes; some images are copies of each other."""
    rng = np.random.default_rng(0)
    for name, side in (("large <b>", 12), ("small", 5)):
        (tmp_path / "my cells" / name).mkdir(parents=True)
        for number in range(40):
            pixels = rng.integers(0, 60, (20, 24, 3), np.uint8)
            pixels[:side, :side] += 150
            PIL.Image.fromarray(pixels).save(tmp_path / "my cells" / name / f"{number}.png")
    content = (tmp_path / "my cells" / "small" / "0.png").read_bytes()
    (tmp_path / "my cells" / "large <b>" / "copy.png").write_bytes(content)
    return tmp_path / "my cells"


@pytest.fixture
def own(cells, tmp_path):
    """A configuration of a small run on them."""
    path = tmp_path / "own.yaml"
    path.write_text(f"dataset: {{name: image_folder, path: {cells}, resolution: 16}}\n{SMALLEST}")
    return path


def test_a_folder_is_inspected_before_anything_is_trained(own, tmp_path):
    code, out, err = call("data", "inspect", own, "--out", tmp_path / "found")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == "my cells: 81 images, 2 classes, stored at 16 x 16 pixels, in colour"
    assert lines[1].split() == ["class", "train", "validation", "test", "all"]
    assert lines[2].split()[-1] == "41"
    assert "modes: RGB (81)" in lines
    assert "sizes: 24 x 20 (81)" in lines
    assert any("1 images equal another one of the set byte for byte" in line for line in lines)
    assert any("class 'small' has 4 images in validation" in line for line in lines)
    found = json.loads((tmp_path / "found" / "inspection.json").read_text())
    assert found["copies"] == [["large <b>/copy.png", "small/0.png"]]
    assert sum(map(sum, (found["counts"][s] for s in ("train", "validation", "test")))) == 81
    page = (tmp_path / "found" / "inspection.html").read_text()
    assert "large &lt;b&gt;" in page
    assert "large <b>" not in page
    assert "not given (dataset.card.licence)" in page
    with PIL.Image.open(tmp_path / "found" / "contact_sheet.png") as sheet:
        assert sheet.size[0] > 500


def test_what_cannot_be_trained_on_is_shown_and_told(own, cells, tmp_path):
    (cells / "rare").mkdir()
    PIL.Image.new("RGB", (9, 9), "red").save(cells / "rare" / "1.png")
    result = call("data", "inspect", own, "--out", tmp_path / "found")
    assert_one_error(result, 1, "class 'rare' has 1 different images; expected at least 3")
    assert "page: " in result[1]
    assert "It cannot be trained on." in (tmp_path / "found" / "inspection.html").read_text()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset.name=image_foldr", "did you mean 'image_folder'? expected one of: synthetic_c"),
        ("dataset.path=null", "path: image_folder needs dataset.path, a folder with one folder"),
        ("dataset.name=pbc", "path: pbc takes none; its files are looked for in dataset.data_dir"),
        ("dataset.group_pattern=(", "group_pattern: no regular expression"),
        ("dataset.group_pattern=p", "expected a group in parentheses"),
        ("dataset.split.group=patient", "split.group: is a column of a table"),
        ("dataset={name: pbc, card: {licence: CC0}}", "card: pbc has its published licence"),
        ("dataset.split={file: a.csv, method: grouped}", "file and method both say"),
    ],
)
def test_keys_that_do_not_fit(own, override, message):
    assert_one_error(call("data", "inspect", own, override), 2, message)


def test_a_folder_that_is_not_a_published_set_is_pointed_to_its_own_name(own, cells):
    data_dir = f"dataset={{name: pbc, data_dir: {cells}}}"
    assert_one_error(
        call("data", "inspect", own, data_dir), 1, "pbc not found", "dataset.name=image_folder"
    )
