"""Trained circuits of aml2026: stored with the run, loaded for a backend."""

import copy
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.config.hardware import FineTuningConfig, ImagesConfig
from hqnn_jax.errors import DataError, HardwareError, RunFolderError
from hqnn_jax.experiments import paper
from hqnn_jax.experiments.aml2026 import study as aml2026
from hqnn_jax.experiments.aml2026.hardware import classify, load_vqc
from hqnn_jax.experiments.paper import PaperRequest
from hqnn_jax.hardware.backends import open_backend
from hqnn_jax.hardware.compilation import compile_for
from hqnn_jax.hardware.execution import estimate
from hqnn_jax.progress import Progress

QUIET = Progress(terminal=False)
OVERRIDES = (
    "arms=[vqc_cobyla, vqc_adam_scaled, rbf_svm]",
    "sizes=[16, 10]",
    "seeds=[4, 1]",
    "vqc.iterations=12",
    "vqc.bandwidth=0.3",
    "num_components=2",
)
ALL = ImagesConfig(count=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("aml2026")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HQNN_CACHE_DIR", str(out / "cache"))
        paper.reproduce("aml2026", PaperRequest(out, OVERRIDES, small=True, progress=QUIET))
    return out


@pytest.fixture(autouse=True)
def cache(folder, monkeypatch):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(folder / "cache"))


def load(folder, **options):
    return load_vqc(folder, **{"images": ALL, "fine_tuning": None, "progress": QUIET, **options})


def cells_of(folder):
    cells = json.loads((folder / "results.json").read_text())["cells"]
    return {(cell["arm"], cell["size"]): cell for cell in cells}


def test_cells_of_circuits_hold_the_weights_of_every_seed(folder):
    cells = cells_of(folder)
    for arm in ("vqc_cobyla", "vqc_adam_scaled"):
        assert np.shape(cells[arm, 10]["weights"]) == (2, 6)
        assert cells[arm, 10]["weights"] != cells[arm, 16]["weights"]
    assert "weights" not in cells["rbf_svm", 10]


@pytest.mark.parametrize(
    ("arm", "size", "seed", "place"),
    [("vqc_cobyla", 10, 1, 1), ("vqc_adam_scaled", 16, 4, 0), ("vqc_adam_scaled", None, None, 0)],
)
def test_exact_values_reproduce_what_is_stored(folder, arm, size, seed, place):
    cell = cells_of(folder)[arm, size or 16]
    loaded = load(folder, arm=arm, size=size, seed=seed)
    compiled = compile_for(loaded.circuit, open_backend("statevector"))
    values = estimate(compiled, loaded.weights, loaded.evaluated.flat).values
    predicted = loaded.probabilities(values).argmax(axis=1)
    np.testing.assert_array_equal(predicted, cell["predictions"][place])
    np.testing.assert_array_equal(loaded.evaluated.labels, cell["labels"][place])
    np.testing.assert_allclose(loaded.stored.probabilities, loaded.probabilities(values), atol=1e-5)
    assert loaded.circuit.num_qubits == 2
    assert loaded.class_names == ("neutrophils", "immature")
    assert loaded.dataset["synthetic"]
    assert loaded.dataset["images"] == len(predicted) == {10: 4, 16: 7}[size or 16]
    assert loaded.training is None


def test_the_sign_of_the_output_is_the_class():
    values = jnp.array([[-0.4], [0.3], [-1e-3]], jnp.float32)
    assert jax.nn.softmax(classify(values)).argmax(axis=1).tolist() == [0, 1, 0]


def test_images_are_chosen_from_the_test_or_the_training_split(folder):
    whole = load(folder, arm="vqc_cobyla")
    some = load(folder, arm="vqc_cobyla", images=ImagesConfig(count=3, seed=2))
    assert len(some.evaluated.labels) == 3
    positions = some.evaluated.positions
    assert sorted(positions) == positions.tolist()
    for part in ("features", "labels"):
        chosen = np.take(getattr(whole.evaluated, part), positions, axis=-1 - (part == "features"))
        np.testing.assert_array_equal(getattr(some.evaluated, part), chosen)
    np.testing.assert_allclose(
        some.stored.probabilities, whole.stored.probabilities[positions], atol=1e-6
    )
    train = load(
        folder,
        arm="vqc_cobyla",
        images=ImagesConfig(split="train", count=None),
        fine_tuning=FineTuningConfig(iterations=3, batch_size=4),
    )
    assert train.evaluated.features.shape == (1, 25, 2)
    assert train.dataset["split"] == "train"
    # Fitted to the training images of this seed: their angles fill the range.
    np.testing.assert_allclose(train.evaluated.features.min(axis=(0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(train.evaluated.features.max(axis=(0, 1)), 2 * np.pi, atol=1e-5)
    assert train.stored is None
    assert len(train.training.labels) == 12
    scaled = load(folder, arm="vqc_adam_scaled").evaluated.features
    np.testing.assert_allclose(scaled, 0.3 * whole.evaluated.features, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arm": "rbf_svm"}, "'rbf_svm' is none of .* expected vqc_cobyla or vqc_adam_scaled"),
        ({"arm": "vqc_spsa"}, "'vqc_spsa' is none of the arms with a circuit that were run"),
        ({"size": 50}, "vqc_cobyla was not run with 50 images per class; expected 10 or 16"),
        ({"seed": 0}, "seed 0 was not run; expected one of 4, 1"),
        ({"images": ImagesConfig(split="validation")}, "expected test or train"),
    ],
)
def test_what_was_not_run_is_refused(folder, options, message):
    with pytest.raises(HardwareError, match=message) as caught:
        load(folder, **{"arm": "vqc_cobyla", **options})
    assert "\n" not in str(caught.value)


def test_other_folders_and_other_images_are_refused(folder, tmp_path):
    with pytest.raises(RunFolderError, match=r"results.json: missing; expected the folder"):
        load(tmp_path)
    file = tmp_path / "results.json"
    for content, message in (
        ('{"paper": "hqnn2026"}', "no results of aml2026"),
        ('{"paper": ', "cannot be read"),
        ('{"paper": "aml2026", "config": {"sizes": 3}}', "not one of this version"),
    ):
        file.write_text(content)
        with pytest.raises(RunFolderError, match=message):
            load(tmp_path)
    results = json.loads((folder / "results.json").read_text())
    for damage, message in (
        (lambda cell: cell.pop("predictions"), r"cells\.0: lacks predictions; run the"),
        (lambda cell: cell.update(labels="0"), r"cells\.0\.labels: .*; run the same"),
        (lambda cell: cell["labels"].pop(), "has not one result per seed; run the same"),
    ):
        damaged = copy.deepcopy(results)
        damage(damaged["cells"][0])
        file.write_text(json.dumps(damaged))
        with pytest.raises(RunFolderError, match=message):
            load(tmp_path)
    results["config"]["dataset"]["synthetic"]["seed"] = 99
    file.write_text(json.dumps(results))
    with pytest.raises(DataError, match=r"does not predict .* has stored for seed 4"):
        load(tmp_path, arm="vqc_cobyla")
    for cell in results["cells"]:
        cell.pop("weights", None)
    file.write_text(json.dumps(results))
    with pytest.raises(RunFolderError, match="run the same `paper aml2026` command again"):
        load(tmp_path, arm="vqc_cobyla")


def test_cells_from_before_weights_were_stored_are_computed_anew(folder, tmp_path, capsys):
    shutil.copytree(folder / "cells", tmp_path / "cells")
    expected = {}
    for path in (tmp_path / "cells").glob("10_vqc_cobyla_*.json"):
        expected = json.loads(path.read_text())
        old = {key: value for key, value in expected.items() if key != "weights"}
        path.write_text(json.dumps(old))
    request = PaperRequest(tmp_path, OVERRIDES, small=True, progress=Progress(terminal=False))
    data = aml2026.reproduce(request).data
    captured = capsys.readouterr()
    assert "has no weights of the circuit; computing it anew" in captured.out + captured.err
    (again,) = (c for c in data["cells"] if (c["size"], c["arm"]) == (10, "vqc_cobyla"))
    assert again["weights"] == expected["weights"]
    assert again["predictions"] == expected["predictions"]
