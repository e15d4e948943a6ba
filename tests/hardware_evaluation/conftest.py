"""Two finished runs on the same images: a circuit, and its matched classical layer."""

from pathlib import Path

import pytest

from tests.command_line import call
from tests.hardware_evaluation.results_factory import circuit_model, classical, results
from tests.small_runs import small_run

SMALL = small_run(
    (96, 24, 60),
    """
  feature_scaling: standardised_tanh
training: {epochs: 2, batch_size: 16, learning_rate: {classical: 2e-2, circuit: 2e-1}}
evaluation: {bootstrap_samples: 100, explained_images: 0, test_time_augmentation: dihedral}
""",
    processor="{widths: [8]}",
    qubits=3,
    layers=2,
)


@pytest.fixture(scope="package")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Folders of the finished runs `quantum` (two seeds) and `matched`."""
    folder = tmp_path_factory.mktemp("runs")
    config = folder / "small.yaml"
    config.write_text(SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HQNN_CACHE_DIR", str(folder / "cache"))
        patch.delenv("HQNN_DATA_DIR", raising=False)
        for name, override in (("quantum", "seeds=2"), ("matched", "model.middle=matched")):
            code, _, err = call("run", config, override, "--out", folder / name)
            assert code == 0, err
    return {name: folder / name for name in ("quantum", "matched")}


@pytest.fixture(scope="module")
def two_models():
    return results([circuit_model(), classical()])
