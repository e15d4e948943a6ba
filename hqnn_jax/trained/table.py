"""The table of what a model says of image files, with a heat map of each where asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from hqnn_jax.errors import RunFolderError, printable
from hqnn_jax.files import write_atomically
from hqnn_jax.reporting.explanation_plots import explanations
from hqnn_jax.reporting.exports import Record, to_csv
from hqnn_jax.reporting.style import image_file
from hqnn_jax.trained.model import BETWEEN, TrainedModel

_DECIMALS = 6


class PredictionTable:
    """Rows of predictions, in the order of the files."""

    def __init__(
        self, model: TrainedModel, *, risk: float, coverage: float, explanations: Path | None
    ):
        """Begin an empty table.

        Args:
            model: what predicts.
            risk: see `TrainedModel.predict`.
            coverage: see `TrainedModel.predict`.
            explanations: folder for a PNG of each image, made where there is none; None for none.
        """
        self._model, self._risk, self._coverage = model, risk, coverage
        self._folder = explanations
        self._records: list[Record] = []

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._records)

    def add(
        self,
        paths: Sequence[Path],
        images: UInt8[np.ndarray, "images height width channels"],
        *,
        batch_size: int,
    ) -> None:
        """Predict some images, which were read from these files.

        Raises:
            RunFolderError: if a heat map cannot be written.
        """
        if not len(images):
            return
        probabilities = self._model.probabilities(images, batch_size)
        found = self._model.judged(probabilities, risk=self._risk, coverage=self._coverage)
        drawn = self._explain(paths, images, found.labels)
        for number, path in enumerate(paths):
            stated = found.probabilities[number].astype(float).round(_DECIMALS).tolist()
            self._records.append(
                {
                    "path": printable(str(path)),
                    "predicted": found.names[number],
                    "confidence": round(float(found.confidence[number]), _DECIMALS),
                    "rejected": "yes" if found.rejected[number] else "no",
                    "set": BETWEEN.join(found.set_names[number]),
                    **dict(zip(self._columns(), stated, strict=True)),
                    **drawn[number],
                }
            )

    def to_csv(self) -> str:
        """Return the table as CSV with a header; probabilities have six decimals."""
        columns = ("path", "predicted", "confidence", "rejected", "set", *self._columns())
        return to_csv((*columns, *(("heat_map",) if self._folder else ())), self._records)

    def _columns(self) -> tuple[str, ...]:
        return tuple(f"probability: {name}" for name in self._model.class_names)

    def _explain(
        self, paths: Sequence[Path], images: np.ndarray, labels: np.ndarray
    ) -> list[dict[str, str]]:
        if self._folder is None:
            return [{} for _ in paths]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"{self._folder}: cannot make the folder: {error.strerror}; choose another"
            ) from error
        found = self._model.explain(images, labels)
        names = []
        for k, path in enumerate(paths):
            figure = explanations(
                images[k : k + 1],
                found.cams[k : k + 1],
                found.attributions[k : k + 1],
                None,
                labels[k : k + 1],
                self._model.class_names,
            )
            # Files of several folders may have one name.
            name = f"{len(self._records) + k + 1:05d}_{path.stem[:40]}.png"
            synthetic = self._model.record.trained_on.synthetic
            write_atomically(self._folder / name, image_file(figure, "png", synthetic=synthetic))
            names.append({"heat_map": printable(name)})
        return names
