"""`push`: a trained model to the Hugging Face hub."""

from __future__ import annotations

from typing import Annotated

import typer

from hqnn_jax.cli.options import TrainedName
from hqnn_jax.progress import Progress

NAME = "push"
HELP = """Upload a trained model with its card to the Hugging Face hub.

Examples:

    python -m experiment push runs/short user/short --private

The repository is made where there is none. You are who `hf auth login` or the environment variable
HF_TOKEN says. Whoever may read it predicts with `python -m experiment predict hf://user/short …`.
"""


def command(
    model: TrainedName,
    repository: Annotated[str, typer.Argument(metavar="USER/NAME", help="Where to.")],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository for yourself only.")
    ] = False,
) -> None:
    """Upload the model folder and print where it is."""
    from hqnn_jax.trained.hub import push
    from hqnn_jax.trained.sources import find_model

    folder = find_model(model)
    with Progress().task(f"uploading {folder}"):
        address = push(folder, repository, private=private)
    print(address)
