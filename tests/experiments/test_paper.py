"""Every paper's small variant, as a user runs it, and what happens when something is missing."""

import functools
import json

import pytest

from hqnn_jax.config import PAPER_NAMES
from hqnn_jax.errors import DataError
from hqnn_jax.experiments import paper as papers
from hqnn_jax.progress import Progress
from tests.command_line import call
from tests.kills import held_elsewhere


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("HQNN_DATA_DIR", raising=False)
    return call


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return `small(paper)`: the folder of its small variant and what was printed."""

    @functools.cache
    def run(name):
        folder = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HQNN_CACHE_DIR", str(folder / "cache"))
            patch.delenv("HQNN_DATA_DIR", raising=False)
            code, stdout, err = call("paper", name, "--small", "--out", folder / "out")
        assert code == 0, err
        return folder / "out", stdout

    return run


# The slow ones go through the same code as those that stay.
_SLOW = ("hqnn2026", "lean2025", "radhi2025")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in _SLOW else n for n in PAPER_NAMES],
)
def test_the_small_variant_gives_a_labelled_report(name, small):
    out, stdout = small(name)
    report = out / "report.html"
    assert stdout.strip() == f"report: {report}"
    page = report.read_text()
    assert papers.paper_module(name).TITLE.split(":")[0][:40] in page
    assert "Synthetic data." in page
    results = json.loads((out / "results.json").read_text())
    assert results


def test_what_is_finished_is_not_run_again_nor_taken_for_another_configuration(command, small):
    out, _ = small("hqcnn2025")
    arguments = ("paper", "hqcnn2025", "--small", "--out", out)
    results = json.loads((out / "results.json").read_text())
    before = {path: path.stat().st_mtime_ns for path in out.rglob("metrics.json")}
    code, _, err = command(*arguments)
    assert code == 0, err
    assert {path: path.stat().st_mtime_ns for path in out.rglob("metrics.json")} == before
    assert json.loads((out / "results.json").read_text()) == results
    code, _, err = command(*arguments, "training.learning_rate.circuit=0.5")
    assert code == 1
    assert "training.learning_rate.circuit is 0.001 there, 0.5 here" in err


def test_an_unknown_paper_is_one_line(command):
    code, _, err = command("paper", "radhi2024")
    assert code == 2
    assert "expected one of: radhi2025" in err


@pytest.mark.parametrize("name", ["aml2026", "lean2025"])
def test_a_paper_beside_a_live_one_is_refused(name, command, tmp_path):
    with held_elsewhere(tmp_path / "out"):
        code, _, err = command("paper", name, "--small", "--out", tmp_path / "out")
    assert code == 1
    assert err == (
        f"error: {tmp_path / 'out'}: another process is working in this folder; wait for it or "
        "choose another --out\n"
    )
    assert not (tmp_path / "out").exists()


def test_only_a_paper_with_a_table_of_its_own_takes_a_configuration(command, tmp_path):
    out = ("--out", tmp_path / "out")
    code, _, err = command("paper", "lean2025", "--config", "configs/quickstart.yaml", *out)
    assert code == 2
    assert "change keys with KEY=VALUE" in err
    code, _, err = command("paper", "aml2026", "--config", tmp_path / "none.yaml", *out)
    assert code == 2
    assert "none.yaml: missing" in err


def test_single_arms_can_be_chosen(command, tmp_path):
    out = tmp_path / "out"
    code, _, err = command("paper", "hqnn2026", "--small", "--arms", "pbc_none", "--out", out)
    assert code == 0, err
    assert list(json.loads((out / "results.json").read_text())["arms"]) == ["pbc_none"]
    code, _, err = command("paper", "hqnn2026", "--small", "--arms", "pbc_nothing", "--out", out)
    assert code == 2
    assert "no arm 'pbc_nothing'; expected some of: pbc_quantum" in err


def test_an_arm_without_its_images_is_left_out_and_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "cache"))
    data = tmp_path / "data"
    data.mkdir()
    (data / "organamnist.npz").write_bytes(b"damaged")
    small = ("training.batch_size=32", "evaluation.test_time_augmentation=none")
    missing = (*small, "dataset.name=organamnist", f"dataset.data_dir={data}")
    quiet = Progress(terminal=False)
    request = papers.PaperRequest(tmp_path / "out", (), small=True, progress=quiet)
    config = "hqcnn2025_bloodmnist"
    whole = papers.PaperArm("whole", "Whole", config, (), small)
    broken = papers.PaperArm("broken", "Broken", config, (), missing)
    runs = papers.run_arms((broken, whole), request)
    assert list(runs.finished) == ["whole"]
    assert list(runs.failed) == ["Broken"]
    assert "organamnist.npz: damaged" in runs.failed["Broken"]
    with pytest.raises(DataError, match="damaged"):
        papers.run_arms((broken,), request)
