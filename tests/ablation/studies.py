"""A study that takes seconds, and the cells that it leaves."""

from hqnn_jax.ablation.cells import Cell
from hqnn_jax.progress import Progress
from tests.small_runs import small_run

QUIET = Progress(terminal=False)


def small_study(images: tuple[int, int, int], *, epochs: int, layers: int) -> str:
    """Return the YAML text of a study of two arms and two seeds, on frozen features."""
    rest = f"""
  feature_scaling: standardised_tanh
training: {{epochs: {epochs}, batch_size: 16}}
seeds: 2
ablation:
  axes: {{middle: [quantum, none]}}
"""
    return small_run(images, rest, resolution=16, frozen=True, layers=layers)


BASE = small_study((64, 32, 40), epochs=2, layers=2)


def contents(out):
    return {path.name: path.read_bytes() for path in out.glob("cells/*.npz")}


def probabilities(out):
    return {path.name: Cell.read(path).probabilities.tobytes() for path in out.glob("cells/*.npz")}
