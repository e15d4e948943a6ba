"""What the README shows must work as shown."""

import re
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import PIL.Image

from hqnn_jax.config import CircuitConfig
from hqnn_jax.models.middles import build_circuit

README = Path(__file__).parent.parent / "README.md"


def test_the_own_circuit_runs_and_is_short(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (code,) = (block for block in blocks if "Circuit.from_function" in block)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    (tmp_path / "my_circuits.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("my_circuits", None)
    circuit = build_circuit(CircuitConfig(name="my_circuits:ring", num_qubits=3, num_layers=2))
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.uniform(0, 6, (2, 3, 3)), jnp.float32)
    features = jnp.asarray(rng.uniform(-2, 2, (5, 3)), jnp.float32)
    np.testing.assert_allclose(
        circuit.to_jax()(weights, features),
        circuit.to_jax(engine="pennylane")(weights, features),
        atol=1e-5,
    )


def test_a_trained_model_predicts_as_shown(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (code,) = (block for block in blocks if "import load" in block)
    (tmp_path / "new_cells").mkdir()
    rng = np.random.default_rng(0)
    for name in ("1", "2"):
        pixels = rng.integers(0, 256, (40, 30, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / "new_cells" / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    exec(code.replace('"runs/cells"', '"quickstart"'))
    assert capsys.readouterr().out.count("(") >= 2


def test_the_named_files_and_configurations_exist():
    text = README.read_text()
    for name in re.findall(r"configs/(\w+)\.yaml", text):
        assert (README.parent / "configs" / f"{name}.yaml").exists()
    for name in re.findall(r"^\| `([\w./]+)` \|", text, re.MULTILINE):
        path = README.parent / name
        assert path.exists() or (README.parent / "configs" / f"{name}.yaml").exists(), name
    for name in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert (README.parent / name).exists()
