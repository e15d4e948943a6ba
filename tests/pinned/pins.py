"""All pins."""

from tests.pinned import circuits, names, studies
from tests.pinned.store import Pin

# A few steps of training enlarge what differs in the last digit.
_TRAINED = {"float32": 5e-3, "float64": 5e-2}

_ALL = (
    Pin("command_line", names.command_line),
    Pin("cells", names.cells),
    Pin("more_cells", names.more_cells, slow=True),
    Pin("leaves", names.leaves),
    Pin("builders", names.builders),
    Pin("engines", circuits.engines),
    Pin("more_engines", circuits.more_engines, slow=True),
    Pin("parts", circuits.parts, slow=True),
    # Elsewhere, a last digit may decide which way a trajectory or a shot falls.
    Pin("noise", circuits.noise, tolerance={"float32": 0.2, "float64": 1e-10}),
    Pin("more_noise", circuits.more_noise, slow=True, tolerance={"float32": 0.2, "float64": 1e-10}),
    Pin("openqasm", circuits.openqasm, needs=("qiskit",)),
    Pin("run", studies.run, tolerance=_TRAINED),
    Pin("other_runs", studies.other_runs, slow=True, tolerance=_TRAINED),
    Pin("ablation", studies.ablation, slow=True, tolerance=_TRAINED),
    Pin("features", studies.features, slow=True),
    Pin("reports", studies.reports, numbers_vary=True),
    Pin("hardware", studies.hardware, slow=True, numbers_vary=True, needs=("qiskit", "qiskit_aer")),
    Pin("papers", studies.papers, slow=True, numbers_vary=True),
)
PINS = {pin.name: pin for pin in _ALL}
