"""Sets of image files: where they are found, what is complained about, what is prepared."""

import os
import shutil

import numpy as np
import PIL.Image
import pytest

from hqnn_jax.config import FOLDER_NAMES, DatasetConfig
from hqnn_jax.data.folder_listing import list_images
from hqnn_jax.data.folder_set import FolderSet, found_images
from hqnn_jax.data.folder_sources import FOLDER_SOURCES
from hqnn_jax.data.loading import load_dataset, load_pool
from hqnn_jax.errors import DataError
from hqnn_jax.files import write_json

THIRDS = {"method": "stratified", "validation": 0.3, "test": 0.3}


def _config(data_dir, name="medical_mnist", **changes):
    return DatasetConfig(name=name, data_dir=data_dir, resolution=8, **changes)


def _load(data_dir, name="medical_mnist", **changes):
    return load_dataset(_config(data_dir, name, **{"split": THIRDS, **changes}))


def _error(data_dir, name="medical_mnist", **changes):
    with pytest.raises(DataError) as caught:
        _load(data_dir, name, **changes)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", FOLDER_NAMES)
def test_sources_are_complete_and_consistent(name):
    source = FOLDER_SOURCES[name]
    assert list(source.class_names) == sorted(source.class_names)
    assert set(source.published) == set(source.parts)
    assert all(len(counts) == len(source.class_names) for counts in source.published.values())
    total = sum(map(sum, source.published.values()))
    assert (
        total
        == {
            "pbc": 17092,
            "blood_cell_images": 9957 + 2487,
            "aml_cytomorphology": 18365,
            "medical_mnist": 58954,
        }[name]
    )
    assert source.licence
    assert source.citation
    assert source.homepage.startswith("https://")
    assert f"{name}/" in source.instructions


@pytest.mark.parametrize("name", FOLDER_NAMES)
def test_images_come_in_alphabetical_order_with_their_labels(make_set, tmp_path, name):
    root, source = make_set(name, images=2), FOLDER_SOURCES[name]
    pool = load_pool(_config(tmp_path / "data", name))
    assert pool.class_names == source.class_names
    assert len(pool) == 2 * len(source.class_names) * len(source.parts)
    assert list(pool.files) == [
        "/".join(filter(None, (folder, cls, f"{cls}_{number}.png")))
        for folder in source.parts.values()
        for cls in source.class_names
        for number in (0, 1)
    ]
    for file, label, image in zip(pool.files, pool.labels, pool.images, strict=True):
        assert file.split("/")[-2] == source.class_names[label]
        with PIL.Image.open(root / file) as opened:
            expected = opened.convert("L" if source.num_channels == 1 else "RGB")
            expected = expected.resize((8, 8), PIL.Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(image.squeeze(), np.asarray(expected))
    assert [pool.part_names[part] for part in pool.parts] == [
        part for part in source.parts for _ in range(2 * len(source.class_names))
    ]


def test_the_builder_carries_licence_citation_classes_and_instructions(make_set, tmp_path):
    make_set("pbc")
    source = FOLDER_SOURCES["pbc"]
    listing = list_images(source, tmp_path / "data", source.class_names)
    builder = FolderSet(found_images(listing), 8, tmp_path / "tfds")
    assert "CC BY 4.0" in builder.info.redistribution_info.license
    assert "105474" in builder.info.citation
    assert builder.info.homepage == source.homepage
    assert builder.info.features["label"].names == list(source.class_names)
    assert "PBC_dataset_normal_DIB.zip" in builder.MANUAL_DOWNLOAD_INSTRUCTIONS


def test_the_folder_itself_may_be_named_and_outer_folders_left_out(make_set, tmp_path):
    root = make_set("pbc")
    expected = load_pool(_config(tmp_path / "data", "pbc")).digests
    for data_dir in (tmp_path / "data" / "pbc", root):
        assert load_pool(_config(data_dir, "pbc")).digests == expected
    shutil.move(str(root / "ig"), str(tmp_path / "data" / "pbc" / "ig"))
    assert "holds pbc twice" in _error(tmp_path / "data", "pbc")


@pytest.mark.parametrize("exists", [False, True])
def test_a_set_that_is_not_there_says_what_to_download_and_where_to_put_it(tmp_path, exists):
    if exists:
        (tmp_path / "data").mkdir()
    message = _error(tmp_path / "data", "blood_cell_images")
    assert "kaggle.com/datasets/paultimothymooney/blood-cells" in message
    assert "blood_cell_images/dataset2-master/dataset2-master/images/TRAIN/EOSINOPHIL/" in message
    assert str(tmp_path / "data") in message


@pytest.mark.parametrize("how", ["missing", "empty", "only hidden files"])
def test_a_class_folder_without_images_is_named_with_those_there(make_set, tmp_path, how):
    folder = make_set("medical_mnist") / "CXR"
    shutil.rmtree(folder)
    if how != "missing":
        folder.mkdir()
    if how == "only hidden files":
        (folder / "._001.jpeg").write_bytes(b"\0\5\x16\7")
    message = _error(tmp_path / "data")
    assert str(folder) in message
    assert ("class folder missing" if how == "missing" else "holds no image") in message
    assert "AbdomenCT, BreastMRI, ChestCT, Hand, HeadCT" in message
    # The task that does not need it is not refused.
    dataset = _load(tmp_path / "data", label_map={"limb": ("Hand",), "skull": ("HeadCT",)})
    assert dataset.class_names == ("limb", "skull")


def test_a_class_that_is_missing_from_one_official_part(make_set, tmp_path):
    folder = make_set("blood_cell_images") / "TEST" / "MONOCYTE"
    shutil.rmtree(folder)
    assert f"{folder}: class folder missing" in _error(tmp_path / "data", "blood_cell_images")


def test_an_unreadable_image_is_named_and_nothing_is_prepared(make_set, tmp_path, cache):
    file = make_set("medical_mnist") / "Hand" / "Hand_3.png"
    content = file.read_bytes()
    file.write_bytes(content[:60])
    assert f"{file}: not a readable image" in _error(tmp_path / "data")
    assert not list(cache.glob("**/dataset_info.json"))
    file.write_bytes(content)
    assert len(load_pool(_config(tmp_path / "data"))) == 30


def test_other_files_partial_copies_and_other_modes_are_counted(make_set, tmp_path):
    root = make_set("medical_mnist")
    (root / "Hand" / "Thumbs.db").write_bytes(b"x")
    (root / "Hand" / ".DS_Store").write_bytes(b"x")
    (root / "CXR" / "more").mkdir()
    for number in (1, 2):
        PIL.Image.fromarray(np.full((8, 8, 3), 40 * number, np.uint8)).save(
            root / "CXR" / f"CXR_{number}.png"
        )
    expected = (
        "30 of the 58,954 published images are present",
        "3 entries of class folders are no images: left out",
        "2 images in colour, converted to grey (the first: CXR/CXR_1.png)",
    )
    # The second time the counts come from the prepared copy.
    for _ in range(2):
        assert _load(tmp_path / "data").warnings == expected


def test_copies_are_counted_with_their_labels_and_stay_on_one_side(make_set, tmp_path):
    root = make_set("medical_mnist", images=6)
    for cls in ("Hand", "CXR"):
        for number in range(3):
            shutil.copy(root / cls / f"{cls}_{number}.png", root / cls / f"copy_{number}.png")
    shutil.copy(root / "Hand" / "Hand_5.png", root / "HeadCT" / "hand.png")
    for seed in range(5):
        dataset = _load(tmp_path / "data", split={**THIRDS, "seed": seed})
        assert "7 images equal another one of the set byte for byte, 1 of them with" in str(
            dataset.warnings
        )
        assert [pair.images for pair in dataset.shared_images] == [0, 0, 0]
        assert sum(map(len, dataset.splits().values())) == 43


def test_changed_files_are_prepared_anew_and_unchanged_ones_are_not(make_set, tmp_path, cache):
    root = make_set("medical_mnist", images=3)
    first = load_pool(_config(tmp_path / "data"))
    load_pool(_config(tmp_path / "data"))
    assert len(list(cache.glob("tfds/*"))) == 1
    file = root / "Hand" / "Hand_1.png"
    PIL.Image.fromarray(np.full((9, 12), 7, np.uint8)).save(file)
    os.utime(file, ns=(1, 1))
    second = load_pool(_config(tmp_path / "data"))
    changed = [a != b for a, b in zip(first.digests, second.digests, strict=True)]
    assert [second.files[k] for k in np.flatnonzero(changed)] == ["Hand/Hand_1.png"]
    load_pool(_config(tmp_path / "data").model_copy(update={"resolution": 9}))
    assert len(list(cache.glob("tfds/*"))) == 3


def test_progress_ends_with_every_file(make_set, tmp_path):
    make_set("medical_mnist", images=2)
    calls = []
    load_pool(_config(tmp_path / "data"), lambda *call: calls.append(call))
    assert ("preparing medical_mnist", 12, 12) in calls
    assert calls[-1] == ("reading the prepared images", 12, 12)


def test_links_that_lead_nowhere_are_counted(make_set, tmp_path):
    root = make_set("medical_mnist")
    (root / "Hand" / "gone.png").symlink_to(tmp_path / "nothing.png")
    (root / "Hand" / "through.png").symlink_to(root / "CXR" / "CXR_0.png" / "file.png")
    (root / "CXR" / "circle.png").symlink_to(root / "CXR" / "circle.png")
    (root / "CXR" / "folder.png").symlink_to(root / "Hand")
    (root / "CXR" / "copy.png").symlink_to(root / "CXR" / "CXR_0.png")
    warnings = _load(tmp_path / "data").warnings
    assert "31 of the 58,954 published images are present" in warnings
    assert "3 symbolic links lead nowhere: left out" in warnings
    assert "1 entries of class folders are no images: left out" in warnings


def test_a_class_folder_that_leads_nowhere_is_missing(make_set, tmp_path):
    folder = make_set("medical_mnist") / "Hand"
    shutil.rmtree(folder)
    folder.symlink_to(folder)
    assert f"{folder}: class folder missing" in _error(tmp_path / "data")


def test_file_names_that_are_not_utf_8(make_set, tmp_path):
    root = make_set("medical_mnist")
    name = os.fsdecode(b"caf\xe9.png")
    (root / "Hand" / "Hand_0.png").rename(root / "Hand" / name)
    PIL.Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / "Hand" / name, format="PNG")
    for _ in range(2):  # prepared, and from the prepared copy
        dataset = _load(tmp_path / "data")
        files = [file for files in dataset.split_record()["files"].values() for file in files]
        assert r"Hand/caf\udce9.png" in files
        write_json(tmp_path / "split.json", dataset.split_record())
        assert r"(the first: Hand/caf\udce9.png)" in " ".join(dataset.warnings)
    (root / "Hand" / name).write_bytes(b"no image")
    message = _error(tmp_path / "data")
    assert r"caf\udce9.png: not a readable image" in message
    message.encode()


@pytest.mark.parametrize("too_many", [6, 10**12])
def test_more_images_than_there_are(make_set, tmp_path, too_many):
    make_set("medical_mnist")
    message = _error(tmp_path / "data", images_per_class=too_many)
    assert f"class 'AbdomenCT' has 5 images; expected at least {too_many:,}" in message
    assert "lower dataset.images_per_class" in message
