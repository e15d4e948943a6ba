"""What is installed from a wheel, in a folder with nothing in it."""

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from hqnn_jax.config.shipped import CONFIGS, shipped_names
from hqnn_jax.trained.zoo import ZOO, zoo_names
from tests.cli.calls import ROOT

pytestmark = pytest.mark.slow

PARTS = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "experiment.py")
FOLDERS = ("hqnn_jax", "experiments", "benchmarks", "configs")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a copy of the checkout, since building leaves files there."""
    pytest.importorskip("setuptools", reason="builds without downloading setuptools")
    source = tmp_path_factory.mktemp("source")
    for name in PARTS:
        shutil.copy(ROOT / name, source)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "."]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    return next(source.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Folder of the programs of an environment with this wheel and the packages of this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    python = next(folder.glob("bin/python")) if sys.platform != "win32" else None
    site = next(folder.rglob("site-packages"))
    shared = [entry for entry in sys.path if Path(entry).name == "site-packages"]
    (site / "shared.pth").write_text("\n".join(shared))
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", wheel]
    subprocess.run(command, check=True, capture_output=True)
    return python.parent


def test_no_names_but_these_are_installed(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"experiment.py", "hqnn_jax"}
    shipped = {f"hqnn_jax/configs/{name}.yaml" for name in shipped_names()}
    assert {name for name in names if name.startswith("hqnn_jax/configs/")} == {
        "hqnn_jax/configs/__init__.py",
        *shipped,
    }
    for folder in ("hqnn_jax/reporting/templates", "hqnn_jax/serving/page"):
        shown = {f"{folder}/{path.name}" for path in (ROOT / folder).iterdir()}
        assert shown
        assert shown <= set(names)
    assert CONFIGS == ROOT / "configs"
    models = {f"hqnn_jax/zoo/{name}/{path.name}" for name in zoo_names() for path in _files(name)}
    assert len(models) == 4 * len(zoo_names()) > 0
    assert models <= set(names)


def _files(name):
    return (ZOO / name).iterdir()


def test_the_licence_and_the_mark_of_types_are_installed(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        (licence,) = (name for name in names if name.endswith(".dist-info/licenses/LICENSE"))
        assert file.read(licence) == (ROOT / "LICENSE").read_bytes()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        assert "License-Expression: Apache-2.0" in file.read(metadata).decode()
    assert "hqnn_jax/py.typed" in names


@pytest.mark.parametrize("entry", [("hqnn",), ("python", "-m", "experiment")])
def test_the_quickstart_runs_in_an_empty_folder(entry, installed, tmp_path):
    smaller = ["training.epochs=1", "dataset.synthetic.train_images=64"]
    done = subprocess.run(
        [installed / entry[0], *entry[1:], "run", "configs/quickstart.yaml", *smaller],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    note = done.stderr.splitlines()[0]
    assert note.startswith("configs/quickstart.yaml: not in this folder, taken from the package: ")
    assert len(list(tmp_path.glob("runs/quickstart-*/report.html"))) == 1
