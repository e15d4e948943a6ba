"""The configuration: what is accepted, what is refused, and in which words."""

import importlib.util
import pkgutil
from pathlib import Path

import pytest
import yaml

from hqnn_jax import config as schema
from hqnn_jax.ablation.file import load_ablation
from hqnn_jax.ablation.plan import Plan
from hqnn_jax.backbones import Backbone
from hqnn_jax.circuits import ANSATZE, CIRCUITS, EMBEDDINGS, ENTANGLEMENTS, MEASUREMENTS
from hqnn_jax.config import FOLDER_NAMES, Config
from hqnn_jax.config.hardware import HardwareConfig
from hqnn_jax.config.loading import load_config, load_section, validated
from hqnn_jax.config.names import BACKBONES, MIDDLES, dataset_record
from hqnn_jax.data.folder_sources import FOLDER_SOURCES
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.models.controls import Control
from hqnn_jax.models.middles import build_circuit

CONFIGS = Path(__file__).parent.parent / "configs"
MINIMAL = """
dataset: {name: bloodmnist}
model: {backbone: {name: compact}}
training: {learning_rate: {circuit: 5e-3}, epochs: 3}
"""


@pytest.fixture
def minimal(tmp_path):
    path = tmp_path / "minimal.yaml"
    path.write_text(MINIMAL)
    return path


ABLATIONS = sorted(CONFIGS.glob("ablation_*.yaml"))
HARDWARE = sorted(CONFIGS.glob("hardware/*.yaml"))
RUNS = sorted(set(CONFIGS.glob("*.yaml")) - set(ABLATIONS))


@pytest.mark.parametrize("path", RUNS, ids=lambda p: p.stem)
def test_shipped_configs_load_and_survive_a_round_trip(path, tmp_path):
    config = load_config(path)
    stored = tmp_path / "config.yaml"
    stored.write_text(config.to_yaml())
    assert load_config(stored) == config


def test_shipped_configs_state_what_they_are_for():
    assert {p.stem for p in RUNS} >= {
        "quickstart",
        "radhi2025_bloodmnist",
        "radhi2025_bloodmnist_frozen",
        "hqcnn2025_bloodmnist",
        "bloodmnist_compact",
    }
    assert {p.stem.removeprefix("ablation_") for p in ABLATIONS} >= {
        "bloodmnist",
        "qubits_layers",
        "training_size",
        "noise",
        "noise_aware",
    }
    assert {p.stem for p in HARDWARE} >= {"radhi2025", "hqnn2026", "aml2026", "fine_tuning"}
    for path in (*RUNS, *ABLATIONS):
        head = path.read_text().split("dataset:")[0]
        command = "ablate" if path in ABLATIONS else "run"
        assert f"python -m experiment {command} configs/{path.name}" in head
        assert "time:" in head
        assert "result:" in head


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, marks=pytest.mark.slow) if "qubits_layers" in p.stem else p
        for p in ABLATIONS
    ],
    ids=lambda p: p.stem,
)
def test_shipped_ablations_can_be_laid_out(path):
    plan = Plan.of(path.stem, load_ablation(path, []))
    assert len(plan.arms) >= 8
    assert len(plan.seeds) >= 10


@pytest.mark.parametrize("path", HARDWARE, ids=lambda p: p.stem)
def test_shipped_hardware_settings_load_and_state_what_they_are_for(path):
    config = load_section(path, [], HardwareConfig)
    assert config.backend == "fake_sherbrooke"
    head = path.read_text().split("backend:")[0]
    assert f"--config configs/hardware/{path.name}" in head
    assert "time:" in head
    assert "result:" in head


def test_an_ablation_is_no_run():
    with pytest.raises(ConfigurationError, match="experiment ablate"):
        load_config(ABLATIONS[0])


def test_exponents_without_a_dot_are_numbers(minimal):
    assert load_config(minimal).training.learning_rate.circuit == 5e-3
    assert load_config(minimal, ["training.weight_decay=1e-4"]).training.weight_decay == 1e-4


def test_synthetic_cells_are_the_default(tmp_path):
    path = tmp_path / "short.yaml"
    path.write_text("model: {backbone: {name: compact}}")
    assert load_config(path).dataset.name == "synthetic_cells"


def test_overrides_win_and_create_sections(minimal):
    config = load_config(minimal, ["training.epochs=7", "evaluation.bootstrap_samples=200"])
    assert config.training.epochs == 7
    assert config.evaluation.bootstrap_samples == 200


def test_configuration_is_frozen(minimal):
    with pytest.raises(Exception, match="frozen"):
        load_config(minimal).training.epochs = 4


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.epohcs=3", ["unknown key 'training.epohcs'", "'training.epochs'"]),
        ("epochs=3", ["unknown key 'epochs'", "'training.epochs'"]),
        ("sedes=3", ["unknown key 'sedes'", "'seeds'"]),
        ("training.epochs='3'", ["training.epochs", "integer", '"3"']),
        ("training.epochs=2.5", ["training.epochs", "integer"]),
        ("training.epochs=0", ["training.epochs", "greater than or equal to 1", "0"]),
        ("training.learning_rate.circuit=true", ["training.learning_rate.circuit", "number"]),
        ("training.learning_rate.circuit=.nan", ["training.learning_rate.circuit"]),
        ("training=3", ["training", "3"]),
        ("training.epochs", ["expected key=value"]),
        ("training.epochs.x=1", ["training.epochs.x"]),
        ("dataset.name=bloodmnits", ["dataset.name", "did you mean 'bloodmnist'"]),
        ("model.backbone.name=efficientnet", ["did you mean 'efficientnet_b0'"]),
        ("model.circuit.name=radhi", ["model.circuit.name", "radhi2025"]),
        ("model.circuit.ansatz=tree", ["model.circuit", "'ansatz'", "'composed' only"]),
        ("model.circuit={name: composed, embedding: zzz}", ["circuit.embedding", "iqp, zz"]),
        ("model.circuit={name: composed, entanglement: cyclic}", ["circuit.entanglement", "ring"]),
        (
            "model.circuit={name: composed, entanglement: [[0, a]]}",
            ["circuit.entanglement", "pairs of qubits [["],
        ),
        ("model.processor={widths: [4, 4], dropout: [0.1]}", ["2 widths", "1 rates"]),
        ("training.augmentation.crop_scale=[0.9, 0.5]", ["smallest share first"]),
        ("model.backbone.pretrained=hub", ["pretrained", "efficientnet_b0"]),
        ("dataset.positive_labels=[1, a]", ["dataset.positive_labels", "integer"]),
        ("seed=-1", ["seed", "greater than or equal to 0"]),
        ("seed=2147483648", ["seed", "less than 2147483648"]),
        ("dataset.split.seed=4294967296", ["dataset.split.seed", "less than 4294967296"]),
        ("dataset.positive_labels=[2147483648]", ["positive_labels", "less than 2147483648"]),
        ("dataset.synthetic.train_images=1000000000000", ["train_images", "less than 2147483648"]),
        ("training.learning_rate.circuit=1e-50", ["learning_rate.circuit", "float32 can hold"]),
        ("training.learning_rate.circuit=0", ["learning_rate.circuit", "greater than 0"]),
        ("training.learning_rate.circuit=1e39", ["learning_rate.circuit", "float32 can hold"]),
        ("training.weight_decay=1e39", ["training.weight_decay", "float32 can hold"]),
        ("training.weight_decay=1e400", ["training.weight_decay", "finite number"]),
        ("training.clip_norm=1e300", ["training.clip_norm", "float32 can hold"]),
        ("training.contrastive_temperature=1e-300", ["temperature", "float32 can hold"]),
        ("training.contrastive_weight=1e300", ["contrastive_weight", "float32 can hold"]),
        ("training.average_decay=0.99999999", ["training.average_decay", "less than or equal to"]),
        ("training.augmentation.crop_scale=[1e-300, 1.0]", ["crop_scale", "float32 can hold"]),
        ("training.schedule.warmup_epochs=1e300", ["warmup_epochs", "less than or equal to"]),
        ("training.schedule.patience=2147483648", ["schedule.patience", "less than 2147483648"]),
        ("model.circuit.growth={maximum: 9, patience: 2147483648}", ["patience", "less than"]),
        ('dataset.data_dir="a\\0b"', ["dataset.data_dir", "NUL"]),
        (f"dataset.data_dir=/data/{'x' * 256}", ["dataset.data_dir", "too long"]),
        (f"model.backbone.from_run={'x/' * 3000}", ["model.backbone.from_run", "too long"]),
        (f"model.backbone.pretrained={'é' * 128}", ["model.backbone.pretrained", "too long"]),
    ],
)
def test_refused_overrides_say_where_and_what(minimal, override, expected):
    with pytest.raises(ConfigurationError) as caught:
        load_config(minimal, [override])
    message = str(caught.value)
    assert "\n" not in message
    assert "command line" in message or "override" in message
    for text in expected:
        assert text in message


def test_the_last_seed_of_a_run_is_in_range_too(minimal):
    assert load_config(minimal, ["seed=2147483638", "seeds=10"]).seed_values()[-1] == 2**31 - 1
    with pytest.raises(ConfigurationError, match=r"seed: with 10 seeds the last is 2,147,483,648"):
        load_config(minimal, ["seed=2147483639", "seeds=10"])


def test_the_largest_numbers_that_libraries_take_are_accepted(minimal):
    overrides = ["dataset.split.seed=4294967295", "training.learning_rate.circuit=3.4e38"]
    overrides += ["training.schedule.patience=2147483647", "training.average_decay=0.9999999"]
    config = load_config(minimal, [*overrides, "training.weight_decay=1.2e-38"])
    assert config.dataset.split.seed == 2**32 - 1
    assert config.training.learning_rate.circuit == 3.4e38


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("precision=1e-200", "asks for more than 1,000,000,000 shots"),
        ("zne={noise_factors: [1, 1e300]}", "less than or equal to 1000"),
        ("compilation={initial_layout: [2147483648]}", "less than 2147483648"),
        ("fine_tuning={learning_rate: 1e300}", "float32 can hold"),
        ('beside=["a\\0b"]', "NUL"),
    ],
)
def test_refused_settings_of_hardware(override, expected):
    with pytest.raises(ConfigurationError, match=expected):
        validated({}, [override], HardwareConfig, "hardware")


def test_refused_files_are_named(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(MINIMAL.replace("epochs: 3", "epochs: three"))
    with pytest.raises(ConfigurationError, match=r"wrong\.yaml: training\.epochs: .*integer"):
        load_config(path)
    path.write_text("dataset: [")
    with pytest.raises(ConfigurationError, match=r"wrong\.yaml: not valid YAML"):
        load_config(path)
    path.write_text("just text")
    with pytest.raises(ConfigurationError, match="expected sections"):
        load_config(path)
    path.write_text("seed: 1\nseed: 2")
    with pytest.raises(ConfigurationError, match="'seed' appears twice"):
        load_config(path)
    path.write_text("dataset: {name: bloodmnist}")
    with pytest.raises(ConfigurationError, match="missing key 'model'"):
        load_config(path)
    with pytest.raises(ConfigurationError, match=r"absent\.yaml: missing"):
        load_config(tmp_path / "absent.yaml")


def test_images_cannot_be_augmented_behind_a_feature_cache(minimal):
    overrides = ["model.backbone={name: efficientnet_b0, frozen: true}"]
    assert load_config(minimal, overrides).model.backbone.frozen
    with pytest.raises(ConfigurationError, match="cached features"):
        load_config(minimal, [*overrides, "training.augmentation.horizontal_flip=true"])
    with pytest.raises(ConfigurationError, match="cached features"):
        load_config(minimal, [*overrides, "evaluation.test_time_augmentation=dihedral"])


def test_names_in_the_schema_are_those_that_exist():
    assert set(schema.CIRCUIT_NAMES) == set(CIRCUITS)
    assert set(schema.EMBEDDING_NAMES) == set(EMBEDDINGS)
    assert set(schema.ANSATZ_NAMES) == set(ANSATZE)
    assert set(schema.ENTANGLEMENT_NAMES) == set(ENTANGLEMENTS)
    assert set(schema.MEASUREMENT_NAMES) == set(MEASUREMENTS)
    for paper in schema.PAPER_NAMES:
        assert importlib.util.find_spec(f"hqnn_jax.experiments.{paper}")


def test_every_key_is_in_the_stored_configuration(minimal):
    stored = yaml.safe_load(load_config(minimal).to_yaml())
    assert set(stored) == set(Config.model_fields)
    assert stored["evaluation"]["calibration_bins"] == 15


def test_composed_circuits(minimal, tmp_path):
    circuit = load_config(minimal, ["model.circuit={name: composed}"]).model.circuit
    # The resolved configuration says what the defaults were.
    assert circuit.parts() == {
        "embedding": "angle_y",
        "ansatz": "strongly_entangling",
        "entanglement": None,
        "reuploading": False,
        "measurement": "z",
    }
    overrides = ["model.circuit={name: composed, num_qubits: 3, num_layers: 2, reuploading: true}"]
    overrides += ["model.circuit.embedding=zz", "model.circuit.ansatz=hardware_efficient"]
    overrides += ["model.circuit.entanglement=[[2, 0], [1, 2]]", "model.circuit.measurement=xyz"]
    config = load_config(minimal, overrides)
    stored = tmp_path / "stored.yaml"
    stored.write_text(config.to_yaml())
    assert load_config(stored) == config
    built = build_circuit(config.model.circuit)
    assert (built.name, built.num_outputs) == ("zz+hardware_efficient", 9)
    assert built.weights_shape == (3, 3, 3)
    pairs = [gate.wires for gate in built.gates if gate.name == "CZ"]
    assert pairs == 2 * [(2, 0), (1, 2)]


def test_parts_that_do_not_go_together_are_refused_before_the_run():
    circuit = schema.CircuitConfig(name="composed", ansatz="tree", reuploading=True)
    with pytest.raises(
        ConfigurationError, match=r"'composed' does not accept.*'tree' has no layers"
    ):
        build_circuit(circuit)
    assert schema.CircuitConfig(name="lean2025").parts() == {}


def test_data_dir_comes_from_the_configuration_then_the_environment(minimal, monkeypatch, tmp_path):
    monkeypatch.setenv("HQNN_DATA_DIR", str(tmp_path / "a"))
    assert load_config(minimal).dataset.resolved_data_dir() == tmp_path / "a"
    config = load_config(minimal, [f"dataset.data_dir={tmp_path / 'b'}"])
    assert config.dataset.resolved_data_dir() == tmp_path / "b"
    monkeypatch.delenv("HQNN_DATA_DIR")
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "c"))
    assert load_config(minimal).dataset.resolved_data_dir() == tmp_path / "c" / "data"


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_is_where_its_record_says(name):
    record = BACKBONES[name]
    factory = pkgutil.resolve_name(record.factory)
    architecture = getattr(factory, "func", factory)
    assert issubclass(architecture, Backbone)
    assert bool(architecture.layouts) == record.pretrained


@pytest.mark.parametrize("name", MIDDLES)
def test_every_middle_is_where_its_record_says(name):
    record = MIDDLES[name]
    if record.kind == "control":
        assert issubclass(pkgutil.resolve_name(record.made_by), Control)
    elif record.made_by is not None:
        assert callable(pkgutil.resolve_name(record.made_by))


def test_sources_are_known_of_every_set_of_folders():
    assert set(FOLDER_SOURCES) == set(FOLDER_NAMES)


def test_keys_that_came_later_are_written_only_where_they_say_something(minimal):
    before = load_config(minimal)
    for key in ("path", "card", "task", "group_pattern"):
        assert key not in before.model_dump()["dataset"]
    later = load_config(
        minimal, ["dataset.name=image_folder", "dataset.path=cells", "dataset.card.licence=CC0"]
    )
    dumped = later.model_dump(mode="json")["dataset"]
    assert dumped["path"] == "cells"
    assert dumped["card"]["licence"] == "CC0"
    assert "group_pattern" not in dumped
    assert Config.model_validate_json(later.model_dump_json(), strict=True) == later


@pytest.mark.parametrize("name", ["image_folder", "table", "npz", "tfds:x", "hf:x/y", "a.b:c"])
def test_every_own_set_is_loaded_by_what_its_record_says(name):
    assert callable(pkgutil.resolve_name(dataset_record(name).loaded_by))
