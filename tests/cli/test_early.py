"""What is wrong is told, and help given, before anything is imported that takes seconds."""

import json
import subprocess
import sys

import pytest

HEAVY = ("jax", "flax", "pennylane", "tensorflow_datasets", "matplotlib", "sklearn", "orbax")
QUICKSTART = "configs/quickstart.yaml"
CASES = [
    (["--help"], 0, "Usage"),
    (["--version"], 0, "hqnn_jax"),
    (["run", "--help"], 0, QUICKSTART),
    (["walk"], 2, "No such command 'walk'"),
    (["run", QUICKSTART, "--fast"], 2, "--fast"),
    (["run", "configs/quikstart.yaml"], 2, f"did you mean {QUICKSTART}?"),
    (["run", "elsewhere/hqnn2026_pcb.yaml"], 2, "did you mean configs/hqnn2026_pbc.yaml?"),
    (["run", "mine.yaml"], 2, "mine.yaml: missing; `python -m experiment list`"),
    (["run", QUICKSTART, "training.epohcs=3"], 2, "'training.epochs'"),
    (["run", QUICKSTART, "model.circuit.engine=fast"], 2, "'statevector'"),
    (["run", QUICKSTART, "model.circuit.name=radhi2052"], 2, "'radhi2025'"),
    (["run", QUICKSTART, "model.circuit.num_qubits=0"], 2, "model.circuit.num_qubits"),
    (["run", QUICKSTART, "dataset.name=bloodmnits"], 2, "'bloodmnist'"),
    (["run", QUICKSTART, "dataset.resolution=7"], 2, "dataset.resolution"),
    (["run", QUICKSTART, "--resume"], 2, "--resume needs --out"),
    (["run", "configs/ablation_noise.yaml"], 2, "start it with `python -m experiment ablate"),
    (["evaluate", "runs/a", "--cross", "configs/cross/pcb.yaml"], 2, "missing"),
    (["paper", "radhi2052"], 2, "radhi2025"),
    (["paper", "lean2025", "training.epohcs=3"], 2, "'training.epochs'"),
    (["paper", "aml2026", "--config", "configs/papers/aml.yaml"], 2, "configs/papers/aml2026.yaml"),
    (["ablate", QUICKSTART], 2, "nothing to compare"),
    (["ablate", QUICKSTART, "qubit=2,3"], 2, "'qubits'"),
    (["ablate", QUICKSTART, "qubits=2,0"], 2, "num_qubits"),
    (["hardware", "runs/a", "shot=3"], 2, "'shots'"),
    (["hardware", "runs/a", "--config", "configs/hardware/radhi.yaml"], 2, "radhi2025.yaml"),
    (["bench", "--engines", "statevektor"], 2, "statevector"),
    (["bench", "--circuits", "cell4x3"], 2, "sel12x3"),
    (["bench", "--batch", "many"], 2, "whole numbers"),
    (["bench", "--out", "results.txt"], 1, ".json"),
]
PROGRAM = """
import contextlib, io, json, sys
from hqnn_jax.cli import main

heavy, cases = json.loads(sys.argv[1]), json.loads(sys.argv[2])
found = []
for arguments in cases:
    sys.argv = ["experiment", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        code = main()
    found.append((code, out.getvalue(), [name for name in heavy if name in sys.modules]))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Exit code, output and heavy modules there are after each case, all in one process."""
    cases = json.dumps([arguments for arguments, *_ in CASES])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(HEAVY), cases],
        cwd=tmp_path_factory.mktemp("empty"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("place", "code", "expected"),
    [
        pytest.param(place, code, expected, id=" ".join(arguments))
        for place, (arguments, code, expected) in enumerate(CASES)
    ],
)
def test_is_told_before_heavy_imports(results, place, code, expected):
    got, output, heavy = results[place]
    assert got == code, output
    assert expected in " ".join(output.split())
    assert heavy == []
    # Typer draws a box around what it says of usage; all else is one line.
    assert "Traceback" not in output
    assert code == 0 or "╭" in output or len(output.split("error: ")[1].splitlines()) == 1


def test_what_others_build_on_imports_nothing_heavy():
    names = "hqnn_jax.ablation.axes, hqnn_jax.config.loading, hqnn_jax.progress"
    program = f"import sys, {names}; print([x for x in {HEAVY} if x in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
