"""From what a user names to a trained model: a run, a folder, the zoo or the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from hqnn_jax import commands
from hqnn_jax.errors import ModelFolderError
from hqnn_jax.text import did_you_mean
from hqnn_jax.trained.folder import read_model
from hqnn_jax.trained.hub import SCHEME, download
from hqnn_jax.trained.layout import MODEL_FOLDER, RECORD
from hqnn_jax.trained.model import TrainedModel
from hqnn_jax.trained.zoo import ZOO, zoo_names


def load(source: str | Path) -> TrainedModel:
    """Return a trained model; no dataset is needed to load it or to predict with it.

    Args:
        source: the folder of a finished run, a model folder, the name of a model that is part of
            the package (`python -m experiment list` names them), or `hf://user/name`, a repository
            of the Hugging Face hub. A folder goes before a name.

    Raises:
        ModelFolderError: if there is no such model, or it is damaged or of another version.
        ConfigurationError: if a circuit or another part of the user's own cannot be imported.
    """
    return read_model(find_model(source))


def find_model(source: str | Path) -> Path:
    """Return the model folder that `source` means; see `load`.

    Raises:
        ModelFolderError: if there is none, with the command that writes it where there is one.
    """
    text = str(source)
    if text.startswith(SCHEME):
        return download(text)
    path = Path(source).expanduser()
    if path.is_dir():
        return _model_folder(path)
    if path.exists():
        raise ModelFolderError(
            f"{path}: is a file; expected the folder of a run or of a model, which holds {RECORD}"
        )
    if text in zoo_names():
        return ZOO / text
    raise ModelFolderError(
        f"{text}: no such folder and no model of the package; {did_you_mean(text, zoo_names())}"
        f"expected the folder of a run or of a model, one of: {', '.join(zoo_names())}, or "
        f"{SCHEME}user/name"
    )


def _model_folder(path: Path) -> Path:
    # Names of a run's own files: whoever reads more of a run stands above this room.
    if (path / RECORD).exists():
        return path
    if (path / MODEL_FOLDER / RECORD).exists():
        return path / MODEL_FOLDER
    config = path / "config.yaml"
    if (path / "metrics.json").exists():
        raise ModelFolderError(
            f"{path}: the run has finished, but was left by a version that kept no {MODEL_FOLDER}/ "
            f"folder (or it was removed); {commands.written('evaluate', path)} writes it"
        )
    if config.exists():
        again = commands.written("run", config, "--out", path, "--resume")
        raise ModelFolderError(f"{path}: the run has not finished; go on with {again}")
    raise ModelFolderError(
        f"{path}: holds neither a run nor a model ({RECORD} is missing); expected the folder of a "
        "finished run or of a model"
    )
