"""What `python -m experiment COMMAND --help` says."""

from __future__ import annotations

from hqnn_jax.ablation.axes import AXES
from hqnn_jax.config import MIDDLE_NAMES, PAPER_NAMES
from hqnn_jax.config.hardware import MITIGATION_NAMES

RUN_HELP = """Train a model and write its report.

Examples:

    python -m experiment run configs/quickstart.yaml

    python -m experiment run configs/bloodmnist_compact.yaml dataset.data_dir=DATA seeds=3

    python -m experiment run configs/quickstart.yaml training.epochs=2 --out runs/short

    python -m experiment run runs/short/config.yaml --out runs/short --resume

A run folder's config.yaml repeats that run. KEY=VALUE changes any key of the configuration.
Ctrl-C ends the run after the step it is in, with a checkpoint; a second one ends it at once and
keeps the last checkpoint. Both say how to go on, and exit with 1.
"""

EVALUATE_HELP = """Evaluate the stored checkpoints of a finished run again, also on other datasets.

Examples:

    python -m experiment evaluate runs/short --data-dir DATA

    python -m experiment evaluate runs/pbc --cross configs/cross/pbc_to_blood_cell_images.yaml

A file for --cross names a dataset and which of its classes is which class of the model; its keys
are those of evaluation.cross_datasets. What a run was evaluated on stays part of its evaluation.
"""

REPORT_HELP = """Write the report of a finished run again, or compare several runs on one page.

Examples:

    python -m experiment report runs/short

    python -m experiment report runs/quantum runs/matched --out comparison.html
"""

PAPER_HELP = f"""Reproduce a paper: every run its tables and figures need, and one report of them.

Papers: {", ".join(PAPER_NAMES)}.

Examples:

    python -m experiment paper hqcnn2025 dataset.data_dir=DATA

    python -m experiment paper lean2025 --small

    python -m experiment paper lean2025 --arms cnn,hybrid

    python -m experiment paper aml2026 --config configs/papers/aml2026_aml_cytomorphology.yaml

The same command goes on where an earlier one was stopped; finished runs are kept. KEY=VALUE changes
a key in every run. --small takes a minute or two and trains on synthetic cells.
"""

ABLATE_HELP = f"""Compare arms over many seeds, with intervals, tests and a verdict.

Examples:

    python -m experiment ablate configs/ablation_bloodmnist.yaml

    python -m experiment ablate configs/quickstart.yaml middle=quantum,matched,none seeds=10

    python -m experiment ablate configs/quickstart.yaml qubits=2,4 layers=1,2,3 seeds=5

    python -m experiment ablate configs/ablation_bloodmnist.yaml --ray auto --together 5

AXIS=V1,V2,… is one of {", ".join(AXES)}, or any key of the configuration; the first arm is the
reference unless ablation.reference names another. KEY=VALUE changes a key in every arm. All seeds
of an arm are trained in one program. The same command goes on where an earlier one was stopped, and
several processes may share the work. Middles: {", ".join(MIDDLE_NAMES)}.
"""

HARDWARE_HELP = f"""Evaluate a trained circuit on a quantum backend, and compare it with simulation.

Examples:

    python -m experiment hardware runs/short

    python -m experiment hardware runs/short --dry-run backend=fake_sherbrooke shots=10000

    python -m experiment hardware runs/short images.count=64 mitigation=[readout,readout+zne]

    python -m experiment hardware runs/short --config configs/hardware/fine_tuning.yaml

    python -m experiment hardware runs/short --resume

Backends: statevector, aer, aer:DEVICE, the fake devices of qiskit-ibm-runtime (fake_sherbrooke and
others), or a device of your IBM Quantum account, which is the one that Qiskit has saved. Everything
classical runs here, the circuit there, all images in one job. An arm of mitigation is one of
{", ".join(MITIGATION_NAMES)}, or several joined by +. Jobs outlive this
command: --resume collects them, sends failed ones again and none twice. Needs the extra qiskit:
python -m pip install "hqnn-jax[qiskit]".
"""

BENCH_HELP = """Time the circuit engines against other simulators, after checking that all agree.

Examples:

    python -m experiment bench

    python -m experiment bench --quick

    python -m experiment bench --circuits sel12x3,radhi2025-8x4 --batch 1,64 --peers tensorcircuit

Peers that are not installed are named and left out; they are the extra `peers` of this package.
Circuits are NAME or NAME-QUBITSxLAYERS, `sel` is short for strongly_entangling. A peer of your own
is package.module:function, which takes a Circuit and returns a function of (weights, features) for
JAX, or an object like hqnn_jax.benchmarks.contenders.EagerSimulator. End other programs first.
"""
