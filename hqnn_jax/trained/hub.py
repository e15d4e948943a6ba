"""Trained models on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, snapshot_download

from hqnn_jax import commands
from hqnn_jax.errors import ConfigurationError, ModelFolderError, reason_of
from hqnn_jax.trained.layout import CARD, RECORD, VALIDATION, WEIGHTS

SCHEME = "hf://"
_FILES = [RECORD, WEIGHTS, VALIDATION, CARD]


def download(source: str) -> Path:
    """Return the folder of a model of the hub, which is downloaded once into the hub's own cache.

    Args:
        source: `hf://user/name`.

    Raises:
        ModelFolderError: if it cannot be had, or the repository holds no model.
    """
    name = source.removeprefix(SCHEME)
    try:
        folder = Path(snapshot_download(name, allow_patterns=_FILES))
    # The hub lets through the errors of whichever HTTP library it uses; they share no base class.
    except Exception as error:
        raise ModelFolderError(
            f"{source}: could not be had from the Hugging Face hub ({reason_of(error)}); check the "
            "name and the network, log in with `hf auth login` where it is private, or download "
            "the repository elsewhere and give its folder"
        ) from error
    if not (folder / RECORD).exists():
        raise ModelFolderError(
            f"{source}: the repository holds no {RECORD}; expected one that "
            f"{commands.written('push')} has made"
        )
    return folder


def push(folder: Path, repository: str, *, private: bool) -> str:
    """Upload a model folder; returns the address of the repository.

    Args:
        folder: from `find_model`.
        repository: `user/name`; made where there is none.
        private: whether a new one can be read by its owner only.

    Raises:
        ConfigurationError: for what is no name of a repository.
        ModelFolderError: if the hub refuses it or cannot be reached.
    """
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise ConfigurationError(f"{repository!r:.120}: expected a repository USER/NAME")
    api = HfApi()
    try:
        address = str(api.create_repo(repository, private=private, exist_ok=True))
        api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=_FILES)
    except Exception as error:  # as above
        raise ModelFolderError(
            f"{repository}: not uploaded to the Hugging Face hub ({reason_of(error)}); check the "
            "name and the network, and log in with `hf auth login` or set HF_TOKEN to a token "
            "that may write"
        ) from error
    return address
