"""What is answered for one image: classes, uncertainty, and on demand where and how it was seen."""

from __future__ import annotations

import base64
import functools
import io
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
from jaxtyping import Array, Float, Int, UInt8
from pydantic import BaseModel, Field

from hqnn_jax.circuits.analysis import bloch_vectors
from hqnn_jax.data.decoding import decode_image
from hqnn_jax.errors import CircuitError, DataError
from hqnn_jax.evaluation.interpretability import grad_cam
from hqnn_jax.models.middles import QuantumLayer, build_middle_circuit
from hqnn_jax.reporting import formatting
from hqnn_jax.trained.layout import COVERAGE, RISK
from hqnn_jax.trained.model import TrainedModel

Image = UInt8[np.ndarray, "resolution resolution channels"]


class ClassAnswer(BaseModel):
    """One class."""

    name: str
    probability: float = Field(description="Calibrated.")
    predicted: bool
    in_set: bool = Field(description="Whether it belongs to the conformal set.")


class Explanation(BaseModel):
    """Where and how an image was seen."""

    image: str = Field(description="What the model was given, a PNG file as a data: URI.")
    explained_class: str = Field(description="The most probable class.")
    heat_map: list[list[float]] | None = Field(
        description="Its Grad-CAM, from 0 to 1, by rows; null where no place speaks for it."
    )
    bloch: list[tuple[float, float, float]] | None = Field(
        description="(<X>, <Y>, <Z>) of each qubit before it is measured; null without a circuit."
    )


class Answer(BaseModel):
    """What the model says of an image."""

    task: str = Field(description="`multilabel` where any number of classes may be predicted.")
    predicted: str = Field(description="Name of the class; of several labels, ` | ` between them.")
    confidence: float = Field(description="Its probability; of labels, of the least sure answer.")
    classes: list[ClassAnswer]
    entropy: float = Field(description="Of the probabilities, in nats; of labels, their sum.")
    largest_entropy: float = Field(description="That of who knows nothing.")
    rejected: bool = Field(description="Whether the confidence is too low for the chosen risk.")
    decision: str = Field(description="The same in words.")
    conformal_set: list[str] = Field(description="Names of the classes in it.")
    coverage: float = Field(description="Share of images whose set holds the true class.")
    notes: list[str] = Field(description="What was done to the file that was not to be expected.")
    explanation: Explanation | None = None


@dataclass(frozen=True, eq=False)
class Answerer:
    """A trained model that answers one image at a time, from any thread.

    Attributes:
        model: the model.
        risk, coverage, crop: as in `TrainedModel.predict`.
    """

    model: TrainedModel
    risk: float = RISK
    coverage: float = COVERAGE
    crop: float | None = None
    # One image at a time: a second program on the same cores would make both slower.
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def decode(self, content: bytes) -> tuple[Image, tuple[str, ...]]:
        """Return an image file as the model takes it, and what was done to it.

        Raises:
            DataError: for what is no complete image file; the message names no file.
        """
        # Decoders of some formats take nothing but files. The name is ours, not the client's.
        with tempfile.TemporaryDirectory(prefix="hqnn_jax_") as folder:
            file = Path(folder, "image")
            file.write_bytes(content)
            try:
                side = self.model.resolution if self.crop is None else None
                image, notes = decode_image(file, file_mode=self.model.file_mode, resolution=side)
            except DataError as error:
                told = str(error).removeprefix(f"{file}: ").replace(str(file), "the file")
                raise DataError(told) from error
        return (image if side else self.model.stored(image[None], self.crop)[0]), notes

    def answer(self, image: Image, notes: tuple[str, ...], *, explain: bool) -> Answer:
        """Return what the model says of an image that was decoded.

        Args:
            image: see `decode`.
            notes: likewise.
            explain: whether to say where and how it was seen, too.
        """
        with self._turn:
            found = self.model.predict(image[None], risk=self.risk, coverage=self.coverage)
            explained = self._explain(image, found.labels) if explain else None
        shares = np.asarray(found.probabilities[0], np.float64)
        rejected = bool(found.rejected[0])
        several = self.model.task == "multilabel"
        return Answer(
            task=self.model.task,
            predicted=found.names[0],
            confidence=float(found.confidence[0]),
            classes=[
                ClassAnswer(name=name, probability=share, predicted=answer, in_set=inside)
                for name, share, answer, inside in zip(
                    self.model.class_names,
                    shares.tolist(),
                    found.answers[0].tolist(),
                    found.sets[0].tolist(),
                    strict=True,
                )
            ],
            entropy=_entropy(shares) + (_entropy(1 - shares) if several else 0),
            largest_entropy=float(len(shares) * np.log(2) if several else np.log(len(shares))),
            rejected=rejected,
            decision=self._decision(rejected),
            conformal_set=list(found.set_names[0]),
            coverage=self.coverage,
            notes=list(notes),
            explanation=explained,
        )

    def warm_up(self) -> None:
        """Compile everything, with an image of one colour."""
        side = self.model.resolution
        grey = np.full((side, side, self.model.channels), 128, np.uint8)
        self.answer(grey, (), explain=True)

    def _decision(self, rejected: bool) -> str:
        share = formatting.short(100 * self.risk)
        if rejected:
            return f"Rejected: not confident enough for at most {share} % of errors. Ask an expert."
        return (
            f"Accepted: at most {share} % of such predictions are expected to be wrong, for images "
            "like those it was validated on."
        )

    def _explain(self, image: Image, labels: Int[np.ndarray, "1"]) -> Explanation:
        cam, vectors = jax.device_get(self._compiled(jnp.asarray(image[None]), jnp.asarray(labels)))
        largest = float(cam.max())
        return Explanation(
            image=_png(image),
            explained_class=self.model.class_names[labels[0]],
            heat_map=(cam[0] / largest).tolist() if largest > 0 else None,
            bloch=None if vectors is None else vectors[0].tolist(),
        )

    @functools.cached_property
    def _compiled(
        self,
    ) -> Callable[
        [UInt8[Array, "1 height width channels"], Int[Array, "1"]],
        tuple[Float[Array, "1 map_height map_width"], Float[Array, "1 qubits 3"] | None],
    ]:
        model, cut = self.model, self.model.cut
        vectors = _bloch_vectors(model)

        def explained(images, labels):
            prepared = model.preprocessing(images)
            cam = grad_cam(cut.logits_from_maps, cut.maps(prepared), labels)
            if vectors is None:
                return cam, None
            module = model.network.module(model.variables)
            return cam, vectors(module.middle.weights[...], module.angles(prepared))

        return jax.jit(explained)


def _bloch_vectors(
    model: TrainedModel,
) -> Callable[..., Float[Array, "batch qubits 3"]] | None:
    """The function of weights and angles to Bloch vectors; None where there is none."""
    middle = model.network.module(model.variables).middle
    circuit = build_middle_circuit(model.config)
    if circuit is None or not isinstance(middle, QuantumLayer):
        return None
    try:
        return bloch_vectors(circuit)
    except CircuitError:  # noise on too many qubits
        return None


def _entropy(shares: Float[np.ndarray, " classes"]) -> float:
    return float(-np.sum(shares * np.log(np.maximum(shares, 1e-30))))


def _png(image: Image) -> str:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
