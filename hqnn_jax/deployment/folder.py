"""The folder of an evaluation on a backend: settings, jobs, what was compiled, results."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hqnn_jax.config.hardware import HardwareConfig
from hqnn_jax.config_loading import first_difference, load_section
from hqnn_jax.errors import RunFolderError
from hqnn_jax.files import write_atomically, write_json


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

        **Raises:** `RunFolderError` if it holds another evaluation, one of the same settings
        without `resume`, or something else. Nothing is touched.
        """
        if self.is_begun:
            self._require_same(settings)
        if self.is_begun and not resume:
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
        if not resume and self.path.exists() and any(self.path.iterdir()):
            raise RunFolderError(
                f"{self.path}: the folder is not empty and holds no evaluation; choose another "
                "--out"
            )

    def create(self, settings: HardwareConfig) -> None:
        """Create the folder where there is none, and write the settings to it.

        **Raises:** `RunFolderError` if it cannot be written.
        """
        try:
            for folder in (self.path, self.jobs, self.compiled, self.simulated):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"{self.path}: cannot create the folder: {error.strerror}; choose a writable --out"
            ) from error
        if not self.is_begun:
            write_atomically(self.settings, settings.to_yaml().encode())

    def require_same_models(self, models: Sequence[Mapping[str, str]]) -> None:
        """Note which circuits are evaluated, with a hash of weights and images.

        **Raises:** `RunFolderError` if the evaluation that has begun here is one of others.
        """
        found = list(map(dict, models))
        if not self.models.exists():
            write_json(self.models, {"models": found})
            return
        stored = self.read_json(self.models)["models"]
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
        difference = first_difference(stored, given)
        if difference is not None:
            key, old, new = difference
            raise RunFolderError(
                f"{self.path}: holds an evaluation with other settings: {key} is {old!r} there, "
                f"{new!r} here; choose another --out"
            )

    def read_json(self, path: Path) -> Any:
        """Read a JSON file.

        **Raises:** `RunFolderError` if it is damaged.
        """
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(
                f"{path}: cannot read ({error}); delete it, then --resume"
            ) from error

    def read_arrays(self, path: Path) -> dict[str, np.ndarray]:
        """Read an `.npz` file.

        **Raises:** `RunFolderError` if it is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, EOFError) as error:
            raise RunFolderError(
                f"{path}: cannot read ({error}); delete it, then --resume"
            ) from error
