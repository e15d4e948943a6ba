"""What a benchmark is asked to measure, and how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hqnn_jax.benchmarks.contenders import DEFAULT_ENGINES, PEERS, check_names
from hqnn_jax.benchmarks.rows import select_rows
from hqnn_jax.errors import RunFolderError


@dataclass(frozen=True)
class Settings:
    """How long to measure.

    Attributes:
        rounds: turns of each contender.
        turn_seconds: least time of one turn, in calls of one quantity.
        limit_seconds: for each answer of a contender, and for all its turns on a row together.
    """

    rounds: int = 9
    turn_seconds: float = 0.05
    limit_seconds: float = 120.0


@dataclass(frozen=True)
class Options:
    """What to measure: names as in `rows.py` and `contenders.py`, all by default.

    `floor` measures the machine's best rates too, which an accelerator always gets; `out` is the
    JSON file, by default a new one in benchmarks/results; the figure lies beside it.
    """

    circuits: tuple[str, ...] = ()
    batches: tuple[int, ...] = ()
    engines: tuple[str, ...] = DEFAULT_ENGINES
    peers: tuple[str, ...] = PEERS
    quick: bool = False
    grid: bool = False
    floor: bool = False
    out: Path | None = None
    settings: Settings = field(default_factory=Settings)

    def check(self) -> None:
        """Refuse what cannot be measured, before anything slow is imported.

        Raises:
            ConfigurationError: a name or a batch size is wrong.
            RunFolderError: the output exists or cannot be written.
        """
        check_names(self.engines, self.peers)
        select_rows(self.circuits, self.batches)
        if self.out is not None:
            _check_new(self.out)


def _check_new(path: Path) -> None:
    for file in (path, path.with_suffix(".png")):
        if file.exists():
            raise RunFolderError(f"{file}: exists and is not overwritten; choose another --out")
    if path.suffix != ".json":
        raise RunFolderError(f"{path}: expected a name that ends in .json")
    if not path.parent.is_dir():
        raise RunFolderError(f"{path}: the folder {path.parent} does not exist; create it first")
