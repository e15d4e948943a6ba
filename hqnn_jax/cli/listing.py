"""`list`: what there is to choose from."""

from __future__ import annotations

import inspect

from hqnn_jax import commands
from hqnn_jax.ablation.axes import AXES
from hqnn_jax.config import (
    ANSATZ_NAMES,
    BACKBONE_NAMES,
    CIRCUIT_NAMES,
    DATASET_NAMES,
    EMBEDDING_NAMES,
    ENTANGLEMENT_NAMES,
    MEASUREMENT_NAMES,
    MIDDLE_NAMES,
    PAPER_NAMES,
)
from hqnn_jax.config.shipped import CONFIGS, shipped_names

NAME = "list"
HELP = "List configurations, trained models, datasets, circuits and backbones."


def command() -> None:
    """Print all names, with a line about each configuration and circuit."""
    from hqnn_jax.circuits import CIRCUITS
    from hqnn_jax.trained.zoo import zoo_lines

    program = commands.program()
    print("configs")
    for name in shipped_names():
        first = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
        print(f"  {name:32} {first.removeprefix('#').strip()}")
    print(f"trained models ({program} predict NAME PATH…)")
    for name, line in zoo_lines().items():
        print(f"  {name:32} {line}")
    print(f"papers ({program} paper NAME)")
    print("  " + ", ".join(PAPER_NAMES))
    print("datasets (or tfds:NAME, hf:NAME, or package.module:function of your own)")
    print("  " + ", ".join(DATASET_NAMES))
    print("circuits (or package.module:function of your own)")
    for name in CIRCUIT_NAMES:
        print(f"  {name:32} {(inspect.getdoc(CIRCUITS[name]) or '').splitlines()[0]}")
    print("parts of the circuit 'composed'")
    print("  embedding: " + ", ".join(EMBEDDING_NAMES))
    print("  ansatz: " + ", ".join(ANSATZ_NAMES))
    print("  entanglement: " + ", ".join(ENTANGLEMENT_NAMES))
    print("  measurement: " + ", ".join(MEASUREMENT_NAMES))
    print("middles (model.middle)")
    print("  " + ", ".join(MIDDLE_NAMES))
    print("axes of ablations (or any key of the configuration)")
    print("  " + ", ".join(AXES))
    print("backbones")
    print("  " + ", ".join(BACKBONE_NAMES))
    print(f"quantum backends ({program} hardware RUN backend=NAME)")
    print("  statevector, aer, aer:DEVICE, fake_DEVICE of qiskit-ibm-runtime, or your own device")
