"""The folder of an evaluation on a backend: settings, jobs, what was compiled, results."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float
from pydantic import AfterValidator, BaseModel

from hqnn_jax.config.hardware import HardwareConfig
from hqnn_jax.config.loading import load_section, require_same
from hqnn_jax.errors import RunFolderError
from hqnn_jax.files import (
    contents,
    read_arrays,
    read_json,
    remove_temporaries,
    write_atomically,
    write_json,
)

_ADVICE = "delete it, then --resume"
_SIMULATED = {
    "values": Float[np.ndarray, "samples outputs"],
    "standard_errors": Float[np.ndarray, "samples outputs"],
}


class _EvaluatedModel(BaseModel):
    model: str
    jobs: str


class _ModelsFile(BaseModel):
    models: list[_EvaluatedModel]


class _Qubit(BaseModel):
    qubit: int
    t1: float | None
    t2: float | None
    readout_error: float | None
    gate_errors: dict[str, float | None]


class _Pair(BaseModel):
    qubits: list[int]
    gate: str
    error: float | None
    duration: float | None


def _date(value: str) -> str:
    datetime.fromisoformat(value)
    return value


class _Calibration(BaseModel):
    """See `backends.calibration`."""

    backend: str
    device: str = ""
    date: Annotated[str, AfterValidator(_date)] | None
    qubits: list[_Qubit]
    pairs: list[_Pair]


class HardwareFolder:
    """Paths and files of one evaluation on a backend."""

    def __init__(self, path: Path):
        """Name the folder; nothing is read or written yet."""
        self.path = path
        self.settings = path / "hardware.yaml"
        self.models = path / "models.json"
        self.jobs = path / "jobs"
        self.compiled = path / "compiled"
        self.calibration = path / "calibration.json"
        self.simulated = path / "simulated"
        self.record = path / "hardware.json"
        self.arrays = path / "hardware.npz"
        self.report = path / "report.html"

    @property
    def is_begun(self) -> bool:
        """Whether an evaluation has begun here."""
        return self.settings.exists()

    def check(self, settings: HardwareConfig, *, resume: bool) -> None:
        """Check that an evaluation can begin, or be resumed, in the folder.

        Raises:
            RunFolderError: if it holds another evaluation, one of the same settings whose jobs were
                sent without `resume`, or something else. Nothing is touched.
        """
        if self.is_begun:
            self._require_same(settings)
        if self.is_begun and not resume and (self._was_sent() or self.record.exists()):
            done = "a finished" if self.record.exists() else "an unfinished"
            raise RunFolderError(
                f"{self.path}: holds {done} evaluation; collect its jobs and write its report with "
                "--resume, or choose another --out"
            )
        if resume and not self.is_begun:
            raise RunFolderError(
                f"{self.path}: nothing to resume (no {self.settings.name}); leave out --resume to "
                "start, or name the folder with --out"
            )
        if not resume and not self.is_begun and contents(self.path):
            raise RunFolderError(
                f"{self.path}: the folder is not empty and holds no evaluation; choose another "
                "--out"
            )

    def create(self, settings: HardwareConfig) -> None:
        """Create the folder where there is none, and write the settings to it.

        Raises:
            RunFolderError: if it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not self.is_begun:
                # First, so that a folder is known by it whenever the process ends.
                write_atomically(self.settings, settings.to_yaml().encode())
            for folder in (self.jobs, self.compiled, self.simulated):
                folder.mkdir(exist_ok=True)
                remove_temporaries(folder)
        except OSError as error:
            raise RunFolderError(
                f"{self.path}: cannot create the folder: {error.strerror}; choose a writable --out"
            ) from error

    def _was_sent(self) -> bool:
        """Whether a job may have been sent."""
        return self.jobs.is_dir() and bool(contents(self.jobs))

    def require_same_models(self, models: Sequence[Mapping[str, str]]) -> None:
        """Note which circuits are evaluated, with a hash of weights and images.

        Raises:
            RunFolderError: if the evaluation that has begun here is one of others.
        """
        found = list(map(dict, models))
        if not self.models.exists():
            write_json(self.models, {"models": found})
            return
        stored = read_json(self.models, RunFolderError, _ADVICE, _ModelsFile)["models"]
        for old, new in itertools.zip_longest(stored, found):
            if old is None or new is None or old["jobs"] != new["jobs"]:
                raise RunFolderError(
                    f"{self.path}: holds an evaluation of another circuit, of other weights or "
                    f"images, than {(new or old)['model']}; give the run it was begun with, or "
                    "choose another --out"
                )

    def stored_settings(self) -> HardwareConfig:
        """Read the settings of the evaluation that has begun here."""
        return load_section(self.settings, [], HardwareConfig)

    def _require_same(self, settings: HardwareConfig) -> None:
        stored, given = (s.model_dump(mode="json") for s in (self.stored_settings(), settings))
        what = f"{self.path}: holds an evaluation with other settings"
        require_same(stored, given, RunFolderError, what, "choose another --out")

    def read_calibration(self) -> dict[str, Any]:
        """Read the calibration data of when the evaluation began.

        Raises:
            RunFolderError: if they are damaged.
        """
        return read_json(self.calibration, RunFolderError, _ADVICE, _Calibration)

    def read_simulated(
        self, path: Path
    ) -> tuple[Float[np.ndarray, "samples outputs"], Float[np.ndarray, "samples outputs"]]:
        """Read the values and standard errors of a simulated arm.

        Raises:
            RunFolderError: if they are damaged.
        """
        arrays = read_arrays(path, RunFolderError, _ADVICE, _SIMULATED)
        return arrays["values"], arrays["standard_errors"]
