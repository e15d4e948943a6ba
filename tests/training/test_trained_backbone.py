"""The backbone of a finished run, taken into another run without the first one's dataset."""

import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import yaml

import hqnn_jax.runs.chosen
import hqnn_jax.runs.run
from hqnn_jax.backbones.build import build_backbone
from hqnn_jax.config import BackboneConfig, Config
from hqnn_jax.errors import PretrainedWeightsError, RunFolderError
from hqnn_jax.files import write_json
from hqnn_jax.models.classifier import HybridNetwork
from hqnn_jax.models.pure import Model, Variables
from hqnn_jax.progress import Progress
from hqnn_jax.runs.backbone import origin_config, trained_backbone, with_backbone
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.runs.setup import load_setup
from hqnn_jax.runs.stages import Stages
from hqnn_jax.training.checkpoints import Checkpoints
from hqnn_jax.training.state import initial_state
from tests.training.conftest import assert_same

QUIET = Progress(terminal=False)
CONFIG = {
    "dataset": {
        "resolution": 16,
        "synthetic": {"train_images": 24, "validation_images": 8, "test_images": 8},
    },
    "model": {
        "backbone": {"name": "five_layer_cnn", "image_size": 16},
        "processor": {"widths": [4]},
        "middle": "none",
        "circuit": {"name": "radhi2025", "num_qubits": 2, "num_layers": 1},
    },
    "training": {"epochs": 1, "batch_size": 8, "average_decay": 0.5},
    "evaluation": {"bootstrap_samples": 100, "explained_images": 0},
    "seed": 3,
}


def backbone_of(**changes) -> BackboneConfig:
    return BackboneConfig.model_validate({**CONFIG["model"]["backbone"], **changes})


def fresh(config: BackboneConfig, in_channels: int = 3, seed: int = 9):
    key = jax.random.key(seed)
    return Model.split(build_backbone(config, in_channels=in_channels, key=key))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run, moved after training, its setup, and the state that was evaluated."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HQNN_CACHE_DIR", str(folder / "cache"))
        patch.delenv("HQNN_DATA_DIR", raising=False)
        config, files = Config.model_validate(CONFIG), RunFolder(folder / "run")
        hqnn_jax.runs.run.train(config, files, resume=False, progress=QUIET)
        setup = load_setup(config, QUIET)
        state = hqnn_jax.runs.chosen.choose_checkpoint(Stages(setup), files, config.seed).state
    return files.path.rename(folder / "moved"), setup, state


@pytest.fixture
def copy(trained, tmp_path):
    """Return `copy(**backbone) -> folder`: the run with another config.yaml, its dataset gone."""

    def copy(**backbone) -> Path:
        folder = shutil.copytree(trained[0], tmp_path / "copy", dirs_exist_ok=True)
        config = yaml.safe_load((folder / "config.yaml").read_text())
        config["model"]["backbone"].update(backbone)
        config["dataset"] = {"name": "bloodmnist", "data_dir": str(tmp_path / "gone")}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        return folder

    return copy


def assert_one_line(error, *texts):
    message = str(error.value)
    assert "\n" not in message
    for text in texts:
        assert text in message


def test_features_are_those_of_the_run(trained):
    run, setup, state = trained
    config = backbone_of(from_run=run)
    backbone, initial = fresh(config)
    found = trained_backbone(run, config, initial)

    assert jax.tree.structure(found) == jax.tree.structure(initial)
    assert_same(found.params, state.average.params["backbone"])
    assert_same(found.batch_stats, state.average.batch_stats["backbone"])
    # The rest of the run's model, on these features, predicts what the run has predicted.
    features = jax.jit(lambda images: backbone.apply(found, setup.preprocessing(images)))(
        setup.dataset.test.images
    )
    rest, variables = Model.split(
        HybridNetwork(
            setup.config.model,
            backbone=None,
            num_features=features.shape[1],
            num_classes=setup.dataset.num_classes,
            key=jax.random.key(0),
        )
    )
    params = {part: state.average.params[part] for part in variables.params}
    batch_stats = {part: state.average.batch_stats[part] for part in variables.batch_stats}
    logits = rest.apply(Variables(params, batch_stats), features)
    with np.load(run / "predictions.npz") as predictions:
        expected = predictions["test_probabilities"][0]
    np.testing.assert_allclose(jax.nn.softmax(logits), expected, rtol=1e-4, atol=1e-5)


def test_shapes_are_enough_and_the_dataset_is_not_needed(trained, copy):
    run, (_, _, state) = copy(), trained
    _, initial = fresh(backbone_of())
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), initial)
    found = trained_backbone(run, backbone_of(), shapes)
    assert_same(found.params, state.average.params["backbone"])


@pytest.fixture
def stored(tmp_path):
    """Return `stored(config) -> (folder, states)`: a run with two checkpoints, the first better."""

    def stored(config: Config) -> tuple[Path, list]:
        files = RunFolder(tmp_path / "stored")
        files.path.mkdir()
        files.config.write_text(config.to_yaml())
        write_json(files.metrics, {"status": "finished"})
        states = []
        with Checkpoints(files.checkpoints(config.seed), {}, interval=0.0) as checkpoints:
            for step, accuracy in ((1, 0.9), (2, 0.5)):
                key = jax.random.key(step)
                module = HybridNetwork(
                    config.model,
                    backbone=build_backbone(config.model.backbone, in_channels=1, key=key),
                    num_features=64,
                    num_classes=2,
                    key=key,
                )
                _, variables = Model.split(module)
                state = initial_state(
                    variables,
                    optax.sgd(0.1),
                    optax.with_extra_args_support(optax.identity()),
                    key,
                    keep_average=False,
                )._replace(step=jnp.int32(step))
                checkpoints.save(state, {"validation_accuracy": accuracy, "validation_loss": 1.0})
                states.append(state)
        return files.path, states

    return stored


@pytest.mark.parametrize(("chosen", "index"), [("best", 0), ("last", 1)])
def test_the_evaluated_checkpoint_is_taken(stored, chosen, index):
    evaluation = {**CONFIG["evaluation"], "checkpoint": chosen}
    training = {**CONFIG["training"], "average_decay": 0.0}
    config = Config.model_validate({**CONFIG, "training": training, "evaluation": evaluation})
    run, states = stored(config)
    _, initial = fresh(config.model.backbone, in_channels=1)
    found = trained_backbone(run, config.model.backbone, initial)
    assert_same(found.params, states[index].variables.params["backbone"])
    # ... and it can be put into a classifier, whose other parts stay.
    whole = with_backbone(states[1 - index].variables, found)
    assert jax.tree.structure(whole) == jax.tree.structure(states[0].variables)
    assert_same(whole.params["backbone"], found.params)
    assert_same(whole.batch_stats["backbone"], found.batch_stats)
    assert_same(whole.params["logits"], states[1 - index].variables.params["logits"])
    with pytest.raises(PretrainedWeightsError) as error:
        trained_backbone(run, config.model.backbone, fresh(config.model.backbone)[1])
    assert_one_line(error, str(run), "expected shape", "channels")


def test_a_backbone_without_batch_statistics():
    part = Variables({"kernel": jnp.ones((2, 3))}, {})
    whole = Variables({"backbone": {"kernel": jnp.zeros((2, 3))}, "logits": jnp.ones(1)}, {})
    found = with_backbone(whole, part)
    assert_same(found, Variables({**whole.params, "backbone": part.params}, {}))
    with pytest.raises(ValueError, match="not the one"):
        with_backbone(whole, Variables({"kernel": jnp.ones((3, 2))}, {}))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": "compact"}, "model.backbone.name is 'five_layer_cnn' in this run, 'compact'"),
        ({"image_size": 20}, "model.backbone.image_size is 16 in this run, 20 here"),
        ({"normalisation": "imagenet"}, "set model.backbone.normalisation=centred"),
    ],
)
def test_another_backbone(trained, changes, text):
    with pytest.raises(PretrainedWeightsError) as error:
        trained_backbone(trained[0], backbone_of(**changes), Variables({}, {}))
    assert_one_line(error, str(trained[0]), text)


def test_a_frozen_backbone_was_not_trained(copy):
    with pytest.raises(PretrainedWeightsError) as error:
        trained_backbone(copy(frozen=True), backbone_of(), Variables({}, {}))
    assert_one_line(error, "frozen", "choose a run that trained one")
    with pytest.raises(PretrainedWeightsError) as error:
        trained_backbone(copy(frozen=True, from_run="runs/a"), backbone_of(), Variables({}, {}))
    assert_one_line(error, "from where that run did (runs/a)")


def test_no_run(tmp_path):
    for folder, text in [(tmp_path / "none", "no such folder"), (tmp_path, "holds no run")]:
        with pytest.raises(RunFolderError) as error:
            trained_backbone(folder, backbone_of(), Variables({}, {}))
        assert_one_line(error, str(folder), text, "model.backbone.from_run")


@pytest.mark.parametrize("content", [None, '{"status": "training"}', '{"stat', "[]"])
def test_a_run_that_has_not_finished(copy, content):
    run = copy()
    (run / "metrics.json").unlink()
    if content is not None:
        (run / "metrics.json").write_text(content)
    with pytest.raises(RunFolderError) as error:
        trained_backbone(run, backbone_of(), Variables({}, {}))
    assert_one_line(
        error, str(run), "cannot be read" if content in ('{"stat', "[]") else "--resume"
    )


def test_missing_and_damaged_checkpoints(copy):
    run, (_, initial) = copy(), fresh(backbone_of())
    checkpoints = run / "checkpoints" / "seed_3"
    for file in [path for path in checkpoints.rglob("*") if path.is_file() and "/d/" in str(path)]:
        file.write_bytes(b"damaged")
    with pytest.raises(RunFolderError) as error:
        trained_backbone(run, backbone_of(), initial)
    assert_one_line(error, str(checkpoints), "cannot read the checkpoint", "run it again")
    shutil.rmtree(checkpoints)
    with pytest.raises(RunFolderError) as error:
        trained_backbone(run, backbone_of(), initial)
    assert_one_line(error, str(checkpoints), "no checkpoint")
    assert not checkpoints.exists()


def test_the_origin_tells_how_images_are_prepared(copy, tmp_path):
    plain = backbone_of(name="resnet18", normalisation="imagenet")
    assert origin_config(plain) == plain
    pretrained = {"name": "resnet18", "normalisation": "imagenet", "pretrained": "weights.h5"}
    first = copy(**pretrained).rename(tmp_path / "first")
    second = copy(**{**pretrained, "pretrained": None, "from_run": str(first)})
    origin = origin_config(plain.model_copy(update={"from_run": second}))
    assert origin == BackboneConfig.model_validate({**CONFIG["model"]["backbone"], **pretrained})
    shutil.rmtree(first)
    second.rename(first)  # now it names itself
    with pytest.raises(RunFolderError) as error:
        origin_config(plain.model_copy(update={"from_run": first}))
    assert_one_line(error, str(first), "from itself")
