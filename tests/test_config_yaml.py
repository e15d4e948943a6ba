"""The YAML of configurations: names stay what was written, and no file brings the reader down."""

import contextlib
import math
import os
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hqnn_jax.ablation.file import load_ablation
from hqnn_jax.config import Config, CrossDatasetConfig
from hqnn_jax.config.hardware import HardwareConfig
from hqnn_jax.config.loading import load_config, load_section, validated
from hqnn_jax.config.yaml_text import dump_yaml, parse_yaml
from hqnn_jax.errors import ConfigurationError

CONFIGS = Path(__file__).parent.parent / "configs"
BASE = {"model": {"backbone": {"name": "compact"}}, "dataset": {"name": "pbc"}}
HEAD = "model: {backbone: {name: compact}}\ndataset:\n  name: pbc\n"
ODD = (
    *("yes", "No", "on", "OFF", "y", "true", "True", "NULL", "null", "~", "nan", ".nan", ".inf"),
    *("1e3", "1E3", "1_0", "010", "8", "0o17", "0x1F", "0b1", "12:30", "1.", ".5", "+.5", "-1"),
    *("2026-01-01", "2026-01-01T00:00:00Z", "<<", "=", "", " ", "a: b", "- a", "#", "&a", "*a"),
    *("!x", "!!int 3", "'", '"', "a\nb", "\t", "\x00", "\x85", "\ufeff", "\u2028", "😀", "[", "{}"),
)
"""What YAML 1.1 or 1.2 reads, or could be thought to read, as something else than text."""


class Yaml11(yaml.SafeLoader):
    """How configurations were read before: YAML 1.1, and exponents without a dot."""


Yaml11.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def refusal(text):
    with pytest.raises(ConfigurationError) as caught:
        parse_yaml(text, "file")
    message = str(caught.value)
    assert message.startswith("file: not valid YAML: ")
    assert len(message.splitlines()) == 1
    assert len(message) < 400
    return message


@pytest.mark.parametrize(
    "path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda p: p.relative_to(CONFIGS).as_posix()
)
def test_shipped_files_mean_the_same_in_yaml_1_1(path):
    text = path.read_text(encoding="utf-8")
    assert parse_yaml(text, "file") == yaml.load(text, Yaml11)


@pytest.mark.parametrize("name", ODD)
def test_names_as_keys_and_values_survive(name, tmp_path):
    path = tmp_path / "config.yaml"
    names = {name: (name, f"{name} too"), "other": ("b",)}
    config = validated({**BASE}, [], Config, "test")
    dataset = config.dataset.model_copy(update={"label_map": names})
    path.write_text(config.model_copy(update={"dataset": dataset}).to_yaml(), encoding="utf-8")
    read = load_config(path).dataset.label_map
    assert read == names
    assert list(read) == list(names)
    cross = {"dataset": {"name": "pbc"}, "class_map": {name: name, "x": "y"}}
    path.write_text(dump_yaml(cross), encoding="utf-8")
    assert load_section(path, [], CrossDatasetConfig).class_map == {name: name, "x": "y"}


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | TEXT
    | st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=30, deadline=None)
@given(st.lists(TEXT.filter(str.isprintable), min_size=2, max_size=5, unique=True))
@example(["8", "010"])
def test_any_printable_names_of_classes_survive(tmp_path_factory, names):
    path = tmp_path_factory.getbasetemp() / "names.yaml"
    label_map = {name: (f"{name} {number}",) for number, name in enumerate(names)}
    path.write_text(
        dump_yaml({**BASE, "dataset": {"name": "pbc", "label_map": label_map}}), "utf-8"
    )
    config = load_config(path)
    assert list(config.dataset.label_map.items()) == list(label_map.items())
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert load_config(path) == config


@settings(deadline=None)
@given(st.dictionaries(TEXT | st.sampled_from(ODD), VALUE, max_size=5))
@example({"yes": "yes", "Yes": True, "1e3": 1e3, "010": 10, "8": "010", "~": None, "<<": {"a": 1}})
def test_whatever_is_written_is_read_again(data):
    read = parse_yaml(dump_yaml(data), "file")
    assert read == data
    assert repr(read) == repr(data)  # True is not 1, the order is kept


@settings(deadline=None)
@given(st.dictionaries(TEXT.filter(str.isprintable), st.just(1), max_size=5))
def test_what_is_written_means_the_same_to_readers_of_yaml_1_1(data):
    assert yaml.safe_load(dump_yaml(data)) == data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[yes, No, on, OFF, y]", ["yes", "No", "on", "OFF", "y"]),
        ("[true, False, null, ~, ]", [True, False, None, None]),
        ("[010, -7, +3, 0o17, 0x1F]", [10, -7, 3, 15, 31]),
        ("[1e3, 1e-3, 1.5, .5, 2., 1_0]", [1000.0, 0.001, 1.5, 0.5, 2.0, "1_0"]),
        ("[12:30, 2026-01-01, 0b1, =, <<]", ["12:30", "2026-01-01", "0b1", "=", "<<"]),
        ("[.inf, -.INF, 1e400]", [math.inf, -math.inf, math.inf]),
        ("['1', \"no\", !!str 3, !!float 3]", ["1", "no", "3", 3.0]),
        ('"\\ud83d\\ude00"', "😀"),
        ("\ufeffa: 1", {"a": 1}),
        ("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}),
        ("{<<: [{x: 1}, {x: 2, y: 2}], z: 3}", {"x": 1, "y": 2, "z": 3}),
        ("", None),
    ],
)
def test_values_are_those_of_the_core_schema(text, value):
    read = parse_yaml(text, "file")
    assert repr(read) == repr(value)


def test_two_names_stay_two():
    text = HEAD + "  label_map: {010: [a], 8: [b], 1e3: [c], 1000.0: [d], true: [e], True: [f]}"
    data = parse_yaml(text, "file")
    assert list(data["dataset"]["label_map"]) == ["010", "8", "1e3", "1000.0", "true", "True"]


def test_overrides_meet_the_keys_of_the_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(HEAD + "  label_map: {1: [ig], 010: [platelet], no: [monocyte]}\n")
    config = load_config(path, ["dataset.label_map.1=[eosinophil]", "dataset.label_map.on=[yes]"])
    assert config.dataset.label_map == {
        "1": ("eosinophil",), "010": ("platelet",), "no": ("monocyte",), "on": ("yes",),
    }  # fmt: skip


def test_changing_a_section_does_not_change_its_alias(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(HEAD + "training: &same {epochs: 3}\n")
    text = HEAD + "  split: &s {seed: 1}\nevaluation:\n  cross_datasets:\n  - dataset: "
    path.write_text(text + "{name: pbc, split: *s}\n    class_map: {a: b}\n")
    config = load_config(path, ["dataset.split.seed=2"])
    assert config.dataset.split.seed == 2
    assert config.evaluation.cross_datasets[0].dataset.split.seed == 1


def test_ablations_keep_the_names_of_arms_and_values(tmp_path):
    path = tmp_path / "ablation.yaml"
    path.write_text(HEAD + "ablation:\n  arms: {yes: {qubits: 3}, 1e1: {qubits: 4}, 010: {}}\n")
    file = load_ablation(path, [])
    assert list(file.ablation.arms) == ["yes", "1e1", "010"]
    path.write_text(file.to_yaml())
    assert load_ablation(path, []) == file
    path.write_text(HEAD + "ablation: {axes: {qubits: {no: {qubits: 3}, 04: {qubits: 4}}}}\n")
    assert list(load_ablation(path, ["layers=1,2"]).ablation.axes["qubits"]) == ["no", "04"]
    path.write_text(HEAD + "ablation: {arms: {no: {qubits: 3}, 'no': {qubits: 4}}}\n")
    with pytest.raises(ConfigurationError, match="'no' appears twice"):
        load_ablation(path, [])


def test_settings_of_hardware_keep_their_names(tmp_path):
    path = tmp_path / "hardware.yaml"
    config = HardwareConfig(backend="1e3", model="010", beside=(Path("no"), Path("12:30")))
    path.write_text(config.to_yaml())
    assert load_section(path, [], HardwareConfig) == config


LONG = "x" * 2000
LAUGHS = "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40))
MERGED_LAUGHS = LAUGHS.replace("[", "{<<: [").replace("]", "]}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: 1\n'a': 2", "'a' appears twice", id="duplicate"),
        pytest.param("a: &a {x: 1}\nb: {<<: *a, <<: *a}", "'<<' appears twice", id="two merges"),
        pytest.param("a: {<<: 3}", "no section", id="merged number"),
        pytest.param("? [a, b]\n: c", "no word", id="list as key"),
        pytest.param("?\n: c", "no word", id="no key"),
        pytest.param("a: &a [*a]", "refers to the section", id="recursive list"),
        pytest.param("a: &a {b: [{c: *a}]}", "refers to the section", id="recursive section"),
        pytest.param("a: &a {<<: *a}", "refers to the section", id="recursive merge"),
        pytest.param(f"a0: &a0 [{LONG}]\n{LAUGHS}", "more than 524,288", id="billion laughs"),
        pytest.param(
            f"a0: &a0 {{x: {LONG}}}\n{MERGED_LAUGHS}", "more than 524,288", id="billion merges"
        ),
        pytest.param(f"a: &a {'x' * 200_000}\nb: [*a, *a, *a]", "characters", id="long laugh"),
        pytest.param(
            "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 2000)),
            "more than 50 levels",
            id="deep aliases",
        ),
        pytest.param("[" * 10_000, "more than 50 levels", id="brackets"),
        pytest.param("{" * 10_000, "more than 50 levels", id="braces"),
        pytest.param("- " * 10_000, "more than 50 levels", id="dashes"),
        pytest.param("a: 1\n---\nb: 2", "single document", id="two documents"),
        pytest.param("a: !!binary aGVsbG8=", "'binary'", id="binary"),
        pytest.param("!!binary aGVsbG8=: a", "'binary'", id="binary key"),
        pytest.param("a: !!set {b, c}", "'set'", id="set"),
        pytest.param("a: !!python/object/apply:os.getcwd []", "python/object", id="python"),
        pytest.param("a: !mine 3", "'!mine'", id="own tag"),
        pytest.param("a: !!int three", "'int'", id="wrong tag"),
        pytest.param("a: !!timestamp 2026-01-01", "'timestamp'", id="timestamp"),
        pytest.param("a:\n\t- 1", r"'\t'", id="tab"),
        pytest.param("a: \x00", "#x0000", id="NUL"),
        pytest.param("a: \udcff", "#xdcff", id="undecodable"),
        pytest.param('a: "\\ud800"', "no character", id="surrogate"),
        pytest.param('a: "\\UFFFFFFFF"', "escape", id="too large an escape"),
        pytest.param("%YAML " + "9" * 5000 + ".1\n---\na", "directive", id="directive"),
        pytest.param("a: " + "9" * 5000, "5,000 digits", id="digits"),
        pytest.param("*" + "k" * 200_000, "undefined alias", id="long alias"),
    ],
)
def test_odd_documents_are_refused_in_one_line(text, expected):
    assert expected in refusal(text)


@settings(deadline=None)
@given(st.text(st.sampled_from("ab1:-?[]{},&*!|>'\"%@#\\xuU<= \n\t.~0e_"), max_size=40))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(ConfigurationError):
        parse_yaml(text, "file")


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_in_one_line(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:  # no bytes as short as these are enough
        load_config(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (HEAD.encode("utf-16"), "UTF-8"),
        (HEAD.encode("utf-32"), "UTF-8"),
        (HEAD.encode() + b"# \xff", "UTF-8"),
        (HEAD.encode() + b"#" * 2**18, "256 KiB"),
        (b"", "expected sections"),
        (b"# nothing\n", "expected sections"),
        (HEAD.encode() + b"  2026-01-01: 3\n", "unknown key 'dataset.2026-01-01'"),
    ],
)
def test_files_that_hold_no_configuration(content, expected, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=re.escape(str(path))) as caught:
        load_config(path)
    assert expected in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(HEAD, encoding="utf-8-sig")
    assert load_config(path).dataset.name == "pbc"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_pipes_devices_and_folders_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, expected in [
        (tmp_path / "pipe", "no regular file"),
        (Path("/dev/zero"), "no regular file"),
        (tmp_path, "a folder"),
        (tmp_path / ("x" * 300), "too long"),
        (tmp_path / "pipe" / "below", "missing"),
    ]:
        with pytest.raises(ConfigurationError, match=expected):
            load_config(path)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.backbone.frozen=yes", ["boolean", "write true or false"]),
        ("dataset.label_map={a: [1], b: [c]}", ["string", "write it in quotes"]),
        ("dataset.label_map={no: [a], no: [b]}", ["'no' appears twice"]),
        ("dataset.split=&a {x: *a}", ["refers to the section"]),
        ("dataset.split=" + "[" * 1000, ["more than 50 levels"]),
        ("a." * 1000 + "b=3", ["expected key=value"]),
        ("x" * 100_000 + "=3", ["unknown key 'xxx"]),
        ("dataset.data_dir=/\udcff", ["#xdcff"]),
        ("seed=" + "9" * 5000, ["5,000 digits"]),
        ("seed=" + "9" * 4000, ["less than 2147483648"]),
        ("training.weight_decay=" + "9" * 4000, ["finite"]),
    ],
)
def test_odd_overrides_are_refused_in_one_line(override, expected, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(HEAD)
    with pytest.raises(ConfigurationError) as caught:
        load_config(path, [override])
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 400
    for text in expected:
        assert text in message
