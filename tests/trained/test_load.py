"""Loading: what names a model, and each thing that can be wrong with one, told in one line."""

import shutil

import huggingface_hub
import numpy as np
import pytest
import safetensors.numpy

import hqnn_jax
from hqnn_jax import load
from hqnn_jax.errors import ConfigurationError, ModelFolderError
from hqnn_jax.experiments import stored
from hqnn_jax.trained import folder as model_folder
from hqnn_jax.trained import hub
from hqnn_jax.trained.folder import write_model
from hqnn_jax.trained.layout import CARD, RECORD, VALIDATION, WEIGHTS
from hqnn_jax.trained.model import TrainedModel
from hqnn_jax.trained.record import read_record
from hqnn_jax.trained.sources import find_model
from hqnn_jax.trained.structure import flat_names
from hqnn_jax.trained.zoo import ZOO, zoo_names

QUICKSTART = ZOO / "quickstart"


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return load("quickstart")


@pytest.fixture
def copied(tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(QUICKSTART, folder)
    return folder


def changed(folder, old, new):
    text = (folder / RECORD).read_text()
    assert old in text
    (folder / RECORD).write_text(text.replace(old, new))


def refused(source, *texts, kind=ModelFolderError):
    with pytest.raises(kind) as told:
        load(source)
    message = str(told.value)
    assert "\n" not in message
    for text in texts:
        assert text in message, message
    return message


def test_a_folder_a_run_and_a_name_mean_the_same(model, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    shutil.copytree(QUICKSTART, tmp_path / "run" / "model")
    for source in (tmp_path / "run", str(tmp_path / "run" / "model")):
        assert find_model(source) == tmp_path / "run" / "model"
        assert load(source).record == model.record
    monkeypatch.chdir(tmp_path)
    shutil.copytree(QUICKSTART, tmp_path / "quickstart")
    assert find_model("quickstart") != QUICKSTART  # what is here goes before


def test_the_package_offers_it_and_nothing_else_by_surprise():
    assert hqnn_jax.load is load
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        hqnn_jax.laod  # noqa: B018


@pytest.mark.parametrize("name", zoo_names())
def test_every_model_of_the_package_is_whole(name):
    found = load(name)
    assert str(found.record.trained_on.name) in repr(found)
    card = (ZOO / name / CARD).read_text()
    for text in ("## Data", "## Figures", "## Uncertainty", "## Intended use", "## Limits"):
        assert text in card
    assert found.record.trained_on.citation.split(".")[0] in card
    assert ("**Synthetic data.**" in card) == found.record.trained_on.synthetic
    assert sum(path.stat().st_size for path in (ZOO / name).iterdir()) < 4 * 2**20


def test_writing_and_reading_changes_nothing(model, tmp_path):
    card = (QUICKSTART / CARD).read_text()
    write_model(tmp_path / "again", model.record, model.variables, model.validation, card)
    for name in (WEIGHTS, RECORD, CARD):
        assert (tmp_path / "again" / name).read_bytes() == (QUICKSTART / name).read_bytes()
    again = load(tmp_path / "again")
    left, right = (flat_names(found.variables) for found in (model, again))
    assert left.keys() == right.keys()
    for name, value in left.items():
        np.testing.assert_array_equal(value, right[name], err_msg=name)


def test_a_model_is_kept_for_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(stored.FOLDERS, "model", tmp_path)
    assert stored.main(["model", "quickstart", "again"]) == 0
    for path in QUICKSTART.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_names_that_mean_nothing(tmp_path):
    assert "did you mean 'quickstart'" in refused("quikstart", "no such folder")
    refused(tmp_path, "neither a run nor a model", RECORD)
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "is a file")


def test_runs_without_a_model_are_told_with_the_command_that_makes_it(tmp_path):
    (tmp_path / "config.yaml").write_text("")
    refused(tmp_path, "has not finished", "--resume`")
    (tmp_path / "metrics.json").write_text("")
    refused(tmp_path, "has finished", f"`python -m experiment evaluate {tmp_path}` writes it")


@pytest.mark.parametrize("name", [WEIGHTS, VALIDATION])
def test_a_missing_or_changed_file_is_told(copied, name):
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    refused(copied, name, "damaged, or of another model")
    (copied / name).unlink()
    refused(copied, name, "missing")


def test_a_record_that_is_none_is_told(copied):
    changed(copied, "format: 1", "format: 2")
    refused(copied, "written in format 2", "reads format 1")
    (copied / RECORD).write_text("format: 1\n")
    refused(copied, RECORD, "missing key 'hqnn_jax'")
    (copied / RECORD).write_text("{")
    refused(copied, RECORD, "not valid YAML")


def test_weights_of_another_network_are_told(copied):
    changed(copied, "num_layers: 4", "num_layers: 3")
    refused(copied, "not the weights of the network", "middle.weights has shape")
    changed(copied, "num_layers: 3", "num_layers: 4")
    arrays = safetensors.numpy.load((copied / WEIGHTS).read_bytes())
    arrays["other"] = arrays.pop("logits.bias")
    content = safetensors.numpy.save(arrays)
    (copied / WEIGHTS).write_bytes(content)
    old = read_record(copied).files[WEIGHTS]
    changed(copied, old, model_folder._digest(content))
    refused(copied, "lacks logits.bias; has other, which the network has not")


def test_a_circuit_of_ones_own_that_is_not_here_is_told(copied):
    changed(copied, "name: radhi2025", "name: nobodys_circuits:ring")
    message = refused(copied, "cannot import 'ring'", kind=ConfigurationError)
    assert message.startswith(f"{copied / RECORD}: ")


def test_a_model_of_the_hub_is_downloaded(model, monkeypatch, tmp_path):
    asked = []

    def snapshot(name, **options):
        asked.append((name, options["allow_patterns"]))
        return str(QUICKSTART if name == "user/quickstart" else tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    assert load("hf://user/quickstart").record == model.record
    assert asked == [("user/quickstart", [RECORD, WEIGHTS, VALIDATION, CARD])]
    refused("hf://user/other", f"holds no {RECORD}")


def test_a_hub_that_cannot_be_reached_is_told(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    refused("hf://user/absent-model", "could not be had from the Hugging Face hub")
    refused("hf://not a name", "could not be had")
