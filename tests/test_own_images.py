"""docs/own_images.md, followed command by command with pictures of PBC as one's own."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "own_images.md").read_text()
CLASSES = ("eosinophil", "erythroblast", "platelet")
ELSEWHERE = ("push", "hf://", "runs/old", "serve", "quickstart PATH")
"""What needs an account, another run, or does not end."""


def commands():
    """The commands of the page, in order."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.S | re.M)
    text = "\n".join(block for kind, block in blocks if kind in {"", "sh"}).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("python -m experiment")]
    return [line for line in lines if not any(word in line for word in ELSEWHERE)]


def test_the_page_has_every_step():
    steps = [command.split()[3] for command in commands()]
    assert list(dict.fromkeys(steps)) == ["data", "run", "predict", "export"]
    assert "python -m experiment serve runs/mine" in PAGE


@pytest.fixture(scope="module")
def desk(shared_data, tmp_path_factory):
    """A folder with a stranger's images in it, to work in."""
    desk = tmp_path_factory.mktemp("desk")
    (pbc,) = shared_data.glob("pbc/PBC_dataset_normal_DIB")
    for name in CLASSES:
        files = sorted(path for path in (pbc / name).iterdir() if not path.name.startswith("."))
        for number, path in enumerate(files):
            folder = desk / ("new_images" if number < 4 else f"FOLDER/{name}")
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / f"{name}_{number}.jpg")
    return desk


def environment(desk):
    return {**os.environ, "HQNN_CACHE_DIR": str(desk / "cache")}


@pytest.mark.slow
def test_a_stranger_follows_the_page(desk):
    for command in commands():
        words = shlex.split(command.replace("FOLDER", str(desk / "FOLDER")))
        done = subprocess.run(
            [sys.executable, *words[1:]], cwd=desk, env=environment(desk),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert (desk / "runs/look/contact_sheet.png").stat().st_size > 10_000
    card = (desk / "runs/mine/model/README.md").read_text()
    assert "FOLDER" in card
    assert "Acevedo" not in (desk / "runs/mine/report.html").read_text()
    rows = (desk / "predictions.csv").read_text().splitlines()
    assert len(rows) == 1 + 4 * len(CLASSES)
    right = sum(row.split(",")[1] in row.split(",")[0] for row in rows[1:])
    assert right > 8
    assert len(list((desk / "heat_maps").iterdir())) == 4 * len(CLASSES)
    for name in ("mine.stablehlo", "mine.onnx", "mine.qasm"):
        assert (desk / name).stat().st_size > 500
    serving(desk)


def serving(desk):
    """Ask the server for an image as the page says."""
    server = subprocess.Popen(
        [sys.executable, "-m", "experiment", "serve", "runs/mine", "--port", "8765"],
        cwd=desk, env=environment(desk), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    try:
        image = sorted((desk / "new_images").iterdir())[0].read_bytes()
        answer = None
        for _ in range(120):
            time.sleep(1)
            try:
                request = urllib.request.Request("http://127.0.0.1:8765/predict", image)
                with urllib.request.urlopen(request, timeout=60) as reply:
                    answer = json.load(reply)
                break
            except OSError:
                assert server.poll() is None, server.stdout.read()
        assert answer is not None
        assert sum(one["probability"] for one in answer["classes"]) == pytest.approx(1, abs=1e-3)
    finally:
        server.terminate()
        server.wait(30)
