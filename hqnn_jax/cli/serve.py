"""`serve`: a trained model as a page in the browser and a JSON endpoint."""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from hqnn_jax.cli.options import Coverage, Crop, Risk, TrainedName, require_shares
from hqnn_jax.errors import ServingError
from hqnn_jax.progress import Progress
from hqnn_jax.trained.layout import COVERAGE, RISK

NAME = "serve"
HELP = """Serve a trained model on this machine: a page to drag an image into, and a JSON endpoint.

Examples:

    python -m experiment serve runs/short

    python -m experiment serve quickstart --port 8080

    curl --data-binary @cell.png http://127.0.0.1:8000/predict

The page shows classes with calibrated probabilities, the conformal set, whether the prediction is
rejected at the chosen risk, a heat map, and the qubits of the circuit on their Bloch spheres. It
loads nothing from elsewhere; images are not kept. /openapi.json describes the endpoint. Needs the
extra `serve`. Ctrl-C ends it.
"""


def command(
    model: TrainedName,
    host: Annotated[
        str, typer.Option(help="Address to listen on; the default is this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any free one.")] = 8000,
    risk: Risk = RISK,
    coverage: Coverage = COVERAGE,
    crop: Crop = None,
) -> None:
    """Load and compile the model, then answer until Ctrl-C."""
    require_shares(risk=risk, coverage=coverage, crop=crop)
    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ServingError(
            f'serve: needs {" and ".join(missing)}; run: python -m pip install "hqnn-jax[serve]"'
        )
    from hqnn_jax.serving.answer import Answerer
    from hqnn_jax.serving.app import create_app
    from hqnn_jax.serving.server import is_loopback, listen, names_of, serve
    from hqnn_jax.trained.sources import load

    progress = Progress()
    # Before the model is compiled: whether it can be served at all is known at once.
    with contextlib.closing(listen(host, port)) as taken:
        answerer = Answerer(load(model), risk, coverage, crop)
        with progress.task("compiling"):
            answerer.warm_up()
        app = create_app(answerer, Path(model).resolve().name, hosts=names_of(host))
        if not is_loopback(host):
            progress.line(
                f"warning: everybody who reaches {host} can use this model; there is no password "
                "and no encryption"
            )
        shown = f"[{host}]" if ":" in host else host
        print(f"http://{shown}:{taken.getsockname()[1]} (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            serve(app, taken)
