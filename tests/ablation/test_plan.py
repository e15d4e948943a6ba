"""Axes, arms, references and cell names, and every mistake that shows before anything runs."""

import json
from pathlib import Path

import pytest

from hqnn_jax.ablation.axes import AXES, settings_of, updated
from hqnn_jax.ablation.file import load_ablation
from hqnn_jax.ablation.plan import Plan
from hqnn_jax.errors import ConfigurationError

BASE = """
dataset: {name: synthetic_cells, resolution: 28}
model:
  backbone: {name: five_layer_cnn, image_size: 16}
  circuit: {name: radhi2025, num_qubits: 4, num_layers: 4}
seeds: 3
"""


@pytest.fixture
def plan(tmp_path):
    """Return `plan(*arguments, text=...)`."""

    def make(*arguments, text="") -> Plan:
        path = tmp_path / "study.yaml"
        path.write_text(BASE + text)
        return Plan.of("study", load_ablation(path, arguments))

    return make


def described(plan):
    return [(arm.label, arm.reference) for arm in plan.arms]


def test_a_grid_has_every_combination_in_order(plan):
    found = plan("layers=2,4", "qubits=3,4,5")
    assert [arm.label for arm in found.arms] == [
        f"layers {layers}, qubits {qubits}" for layers in (2, 4) for qubits in (3, 4, 5)
    ]
    assert [
        (arm.config.model.circuit.num_layers, arm.config.model.circuit.num_qubits)
        for arm in found.arms
    ] == [(2, 3), (2, 4), (2, 5), (4, 3), (4, 4), (4, 5)]
    assert found.axes == {"layers": ("2", "4"), "qubits": ("3", "4", "5")}
    assert [arm.reference for arm in found.arms] == [None, *["layers_2_qubits_3"] * 5]
    assert found.seeds == (0, 1, 2)


def test_one_at_a_time_changes_one_axis(plan):
    found = plan("layers=2,4", "qubits=3,4", "ablation.design=one_at_a_time")
    assert [arm.label for arm in found.arms] == [
        "layers 2, qubits 3",
        "layers 4, qubits 3",
        "layers 2, qubits 4",
    ]


def test_a_reference_on_an_axis_is_the_arm_that_agrees_on_the_others(plan):
    found = plan(
        "middle=quantum,matched", "training_size=4,all", "ablation.reference={middle: matched}"
    )
    assert described(found) == [
        ("quantum, training_size 4", "matched_training_size_4"),
        ("quantum, training_size all", "matched_training_size_all"),
        ("matched, training_size 4", None),
        ("matched, training_size all", None),
    ]


def test_listed_arms_set_several_keys(plan):
    text = """
ablation:
  arms:
    circuit: {}
    deep & wide: {layers: 6, qubits: 5, training.learning_rate.circuit: 0.01}
    plain: {middle: none}
  reference: plain
"""
    found = plan(text=text)
    assert described(found) == [("circuit", "plain"), ("deep & wide", "plain"), ("plain", None)]
    deep = found.arms[1].config
    assert (deep.model.circuit.num_layers, deep.model.circuit.num_qubits) == (6, 5)
    assert deep.training.learning_rate.circuit == 0.01
    assert found.arms[1].name == "deep_wide"


def test_values_of_an_axis_may_be_named_settings(plan):
    text = """
ablation:
  axes:
    training_size:
      few: {training_size: 5, training.epochs: 40}
      all: {training_size: all, training.epochs: 4}
"""
    few, everything = plan(text=text).arms
    assert (few.config.training.images_per_class, few.config.training.epochs) == (5, 40)
    assert (everything.config.training.images_per_class, everything.config.training.epochs) == (
        None,
        4,
    )
    assert few.settings == {"training_size": "few"}


def test_axes_of_the_command_line_join_those_of_the_file(plan):
    text = "ablation: {axes: {middle: [quantum, none], layers: [1, 2]}}"
    found = plan("layers=4", "seeds=5", text=text)
    assert [arm.label for arm in found.arms] == ["quantum, layers 4", "none, layers 4"]
    assert len(found.seeds) == 5


def test_any_configuration_key_is_an_axis(plan):
    rates = plan("training.learning_rate.circuit=1e-3,1e-2")
    assert [arm.config.training.learning_rate.circuit for arm in rates.arms] == [1e-3, 1e-2]
    widths = plan("model.processor.widths=[8],[16,4]")
    assert [arm.config.model.processor.widths for arm in widths.arms] == [(8,), (16, 4)]


@pytest.mark.parametrize(
    ("axis", "value", "expected"),
    [
        ("shots", "exact", {"evaluation.shots": None}),
        ("shots", 100, {"evaluation.shots": 100}),
        ("training_size", "all", {"training.images_per_class": None}),
        ("entanglement", "ring", {"model.circuit.entanglement": "ring"}),
        ("image_size", 64, {"model.backbone.image_size": 64}),
        ("label_noise", 0.2, {"training.label_noise": 0.2}),
    ],
)
def test_named_axes_stand_for_keys(axis, value, expected):
    assert settings_of(axis, value) == expected


def test_noise_is_ten_times_weaker_on_one_qubit_gates():
    (noise,) = settings_of("noise", 0.02).values()
    assert noise == {
        "one_qubit": 0.002, "two_qubit": 0.02, "amplitude_damping": 0.0, "readout": 0.02,
    }  # fmt: skip


def test_the_axes_of_the_issue_are_there():
    assert set(AXES) >= {
        "middle", "qubits", "layers", "embedding", "entanglement", "measurement", "reuploading",
        "training_size", "label_noise", "image_size", "noise", "shots",
    }  # fmt: skip


def test_updated_leaves_its_argument_alone():
    data = {"a": {"b": 1, "c": {"d": 2}}}
    assert updated(data, {"a.c.d": 3, "e.f": 4}) == {"a": {"b": 1, "c": {"d": 3}}, "e": {"f": 4}}
    assert data == {"a": {"b": 1, "c": {"d": 2}}}


def test_conditions_of_evaluation_share_their_training(plan):
    arms = plan("noise=0,0.01", "shots=exact,100").arms
    assert len({arm.training_key for arm in arms}) == 1
    assert len({arm.key for arm in arms}) == 4
    other = plan("middle=quantum,none").arms
    assert len({arm.training_key for arm in other}) == 2


def test_a_cell_is_named_after_what_it_depends_on(plan, tmp_path):
    def key(*arguments):
        return plan("middle=quantum,none", *arguments).arms[0].key

    first = key()
    assert first == key("seeds=7", "evaluation.explained_images=0", "evaluation.paper=radhi2025")
    assert first == key(f"dataset.data_dir={tmp_path}")
    assert first == key("ablation.metric=roc_auc")
    for change in (
        "training.epochs=3", "model.circuit.num_layers=5", "dataset.synthetic.seed=1",
        "evaluation.checkpoint=last", "training.label_noise=0.1", "evaluation.shots=9",
    ):  # fmt: skip
        assert key(change) != first, change


def test_a_cell_knows_the_weights_it_starts_from(plan, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    options = ("middle=quantum,none", f"model.backbone.from_run={run}")
    keys = set()
    for content in ("first", "second"):
        (run / "metrics.json").write_text(json.dumps(content))
        keys.add(plan(*options).arms[0].key)
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["midle=quantum,none"], ["no axis 'midle'", "did you mean 'middle'", "training_size"]),
        (["training.epoch=1,2"], ["no axis 'training.epoch'", "'training.epochs'"]),
        (["middle=quantum,"], ["'middle'", "value is empty"]),
        (["middle=quantum,quantum"], ["middle", "quantum twice"]),
        (["middle=quantum,none", "middle=none"], ["'middle' is given twice"]),
        (["middle=quantum,none", "seeds=1"], ["at least 2 seeds", "seeds=1", "tests=false"]),
        (["layers=1,2", "middle=matched"], ["arm 'layers 1, matched'", "within 10 %", "closest"]),
        (["layers=2,x"], ["arm 'layers x'", "num_layers", "valid integer"]),
        (["middle=quantum,foggy"], ["arm 'foggy'", "model.middle", "matched"]),
        (["qubits=2,3", "ablation.reference=4"], ["ablation.reference"]),
        (["qubits=2,3", "ablation.reference=qubits 4"], ["no arm 'qubits 4'", "'qubits 2'"]),
        (["qubits=2,3", "ablation.reference={qubits: 7}"], ["no value 7", "2, 3"]),
        (["qubits=2,3", "ablation.reference={layers: 7}"], ["no axis 'layers'", "qubits"]),
        (["embedding=iqp,zz"], ["arm 'embedding iqp'", "composed"]),
        (["noise=0.1,2"], ["noise", "2 is no probability"]),
        (["dataset.label_map=1,2"], ["arm 'dataset.label_map 1'", "label_map"]),
        ([], ["no ablation section", "middle=quantum,matched,none"]),
        (["seeds=4"], ["axes or arms"]),
        (["ablation.axes={middle: []}"], ["axes.middle", "at least one value"]),
        (["seeds=2,3"], ["same configuration"]),
    ],
)
def test_bad_input_is_one_line(plan, arguments, texts):
    with pytest.raises(ConfigurationError) as caught:
        plan(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    for text in texts:
        assert text in message


def test_axes_cannot_be_added_to_listed_arms(plan):
    with pytest.raises(ConfigurationError, match="the file lists its arms"):
        plan("layers=1,2", text="ablation: {arms: {a: {middle: none}, b: {layers: 2}}}")


def test_arms_that_are_the_same_are_refused(plan):
    text = "ablation: {arms: {a: {middle: none}, b: {model.middle: none}}}"
    with pytest.raises(ConfigurationError, match="'a' and 'b' are the same configuration"):
        plan(text=text)
    text = "ablation: {arms: {a b: {middle: none}, a-b: {layers: 2}}}"
    with pytest.raises(ConfigurationError, match="same name"):
        plan(text=text)


def test_an_ablation_is_not_a_run():
    """A file that is missing is one line, too."""
    with pytest.raises(ConfigurationError, match="missing"):
        load_ablation(Path("nowhere.yaml"), [])
