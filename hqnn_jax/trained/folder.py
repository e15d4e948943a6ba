"""Writing and reading the folder of a trained model.

`model.yaml` says what it is and holds the digests of all other files; it is written last, so that
a folder is either whole or told to be damaged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from jaxtyping import Bool, Float32

from hqnn_jax.errors import ConfigurationError, ModelFolderError, RunFolderError
from hqnn_jax.files import packed, read_arrays, read_bytes, remove_temporaries, write_atomically
from hqnn_jax.models.pure import Variables
from hqnn_jax.trained.layout import CARD, RECORD, VALIDATION, WEIGHTS
from hqnn_jax.trained.model import TrainedModel
from hqnn_jax.trained.record import ModelRecord, read_record
from hqnn_jax.trained.structure import build_structure, filled, flat_names
from hqnn_jax.trained.validation import ValidationScores

_SCORES: Mapping[str, Any] = {
    "true_probability": Float32[np.ndarray, " images"],
    "confidence": Float32[np.ndarray, " images"],
    "correct": Bool[np.ndarray, " images"],
}
_MOST_LISTED = 3


def write_model(
    folder: Path,
    record: ModelRecord,
    variables: Variables,
    validation: ValidationScores,
    card: str,
) -> None:
    """Write a trained model; one that is there is replaced.

    Args:
        folder: made where there is none; the folder it is in is to be held, see `files.locked`.
        record: its `files` are filled in here.
        variables: the arrays of the whole network.
        validation: scores of the validation images.
        card: the model card in Markdown.

    Raises:
        RunFolderError: if the folder cannot be written.
    """
    arrays = {name: np.ascontiguousarray(leaf) for name, leaf in flat_names(variables).items()}
    contents = {
        WEIGHTS: safetensors.numpy.save(arrays),
        VALIDATION: packed({name: getattr(validation, name) for name in _SCORES}),
        CARD: card.encode(),
    }
    digests = {name: _digest(content) for name, content in contents.items() if name != CARD}
    try:
        folder.mkdir(exist_ok=True)
        remove_temporaries(folder)
    except OSError as error:
        raise RunFolderError(
            f"{folder}: cannot make the folder or write to it: {error.strerror}; free space or "
            "make the folder it is in writable"
        ) from error
    for name, content in contents.items():
        write_atomically(folder / name, content)
    whole = record.model_copy(update={"files": digests})
    write_atomically(folder / RECORD, whole.to_yaml().encode())


def read_model(folder: Path) -> TrainedModel:
    """Return the trained model in a folder; neither its dataset nor its run is needed.

    Raises:
        ModelFolderError: if a file is missing or damaged, or does not fit what `model.yaml` says.
        ConfigurationError: if a circuit or another part of the user's own cannot be imported.
    """
    record = read_record(folder)
    contents = {name: _read(folder / name, record) for name in (WEIGHTS, VALIDATION)}
    try:
        network, expected = build_structure(record, shots=record.shots)
    except ConfigurationError as error:
        raise ConfigurationError(f"{folder / RECORD}: {error}") from error
    arrays = _arrays(folder / WEIGHTS, contents[WEIGHTS])
    _require_same_arrays(folder / WEIGHTS, flat_names(expected), arrays)
    advice = "get the whole folder again, or evaluate its run again"
    scores = read_arrays(folder / VALIDATION, ModelFolderError, advice, _SCORES)
    validation = ValidationScores(**{name: scores[name] for name in _SCORES})
    return TrainedModel(record, network, filled(expected, arrays), validation)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(path: Path, record: ModelRecord) -> bytes:
    advice = "get the whole folder again, or evaluate its run again"
    content = read_bytes(path, ModelFolderError, advice)
    if _digest(content) != record.files.get(path.name):
        raise ModelFolderError(
            f"{path}: damaged, or of another model: its content is not what {RECORD} names; "
            f"{advice}"
        )
    return content


def _arrays(path: Path, content: bytes) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load(content)
    except Exception as error:  # safetensors has no class of its own for all of them
        raise ModelFolderError(f"{path}: no safetensors file ({error}); get it again") from error


def _require_same_arrays(
    path: Path, expected: Mapping[str, Any], found: Mapping[str, np.ndarray]
) -> None:
    problems = [
        *(f"lacks {name}" for name in expected if name not in found),
        *(f"has {name}, which the network has not" for name in found if name not in expected),
        *(
            f"{name} has shape {list(found[name].shape)}, the network {list(leaf.shape)}"
            for name, leaf in expected.items()
            if name in found and found[name].shape != leaf.shape
        ),
    ]
    if problems:
        listed = "; ".join(problems[:_MOST_LISTED])
        more = len(problems) - _MOST_LISTED
        raise ModelFolderError(
            f"{path}: not the weights of the network in {RECORD}: {listed}"
            f"{f' and {more} more' if more > 0 else ''}; get the whole folder again, or use the "
            "version of a circuit of one's own that was trained"
        )
