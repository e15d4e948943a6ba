"""A trained model in ONNX, by jax2onnx, with its weights inside."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn

from hqnn_jax.errors import ExportError, reason_of
from hqnn_jax.exporting.interpreter import bind
from hqnn_jax.exporting.packages import require
from hqnn_jax.exporting.pairs import in_pairs
from hqnn_jax.exporting.plain import plain
from hqnn_jax.trained.model import TrainedModel

INPUT, OUTPUT = "images", "probabilities"
_UNKNOWN_OPERATION = re.compile(r"primitive '([^']+)'")


def to_onnx(model: TrainedModel) -> bytes:
    """Return a model as an ONNX file, for any number of images.

    Its input and output are those of `to_stablehlo`.

    Raises:
        ExportError: where a package is missing, or an operation has no counterpart in ONNX.
    """
    for package in ("jax2onnx", "onnxruntime"):
        require("onnx", package, "onnx")
    function, variables = model.function(), model.variables
    (batch,) = jax.export.symbolic_shape("batch")
    shape = (batch, model.resolution, model.resolution, model.channels)
    like = jax.ShapeDtypeStruct(shape, jnp.uint8)
    program = plain(lambda images: function(variables, images), like)
    disabled = logging.root.manager.disable
    # The converter warns of rules of its own that it cannot load, and of much else.
    logging.disable(logging.WARNING)
    try:
        import jax2onnx

        made = jax2onnx.to_onnx(
            lambda images: in_pairs(program, images, _apply),
            [like],
            model_name="hqnn_jax",
            input_names=[INPUT],
            output_names=[OUTPUT],
        )
    except ExportError as error:
        raise ExportError(f"onnx: {error}") from error
    # A converter has many kinds of errors for what it does not know.
    except Exception as error:
        found = _UNKNOWN_OPERATION.search(str(error))
        what = f"operation '{found[1]}'" if found else reason_of(error)
        raise ExportError(f"onnx: {what} cannot be converted by jax2onnx") from error
    finally:
        logging.disable(disabled)
    # Its notes on shapes in between may be wrong; ONNX Runtime finds them itself.
    del made.graph.value_info[:]
    return made.SerializeToString()


def onnx_program(content: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Return what ONNX Runtime makes of a file on the CPU.

    Raises:
        ExportError: where ONNX Runtime refuses the file; the program raises it, too.
    """
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # of kinds of its own, which are no part of its interface
        raise ExportError(f"onnx: ONNX Runtime refuses the program: {reason_of(error)}") from error

    def run(images: np.ndarray) -> np.ndarray:
        try:
            (found,) = session.run([OUTPUT], {INPUT: images})
        except Exception as error:  # likewise
            raise ExportError(
                f"onnx: ONNX Runtime cannot run the program: {reason_of(error)}"
            ) from error
        return np.asarray(found)

    return run


def _apply(eqn: JaxprEqn, operands: Sequence[Any], **changed: Any) -> list[Any]:
    """Apply an operation by the function of `jnp` that the converter has a rule for, if it needs.

    Its rule for gathers wants to know the size of a row, which a symbolic batch has not.
    """
    name, params = eqn.primitive.name, eqn.params
    if name == "stack":
        return [jnp.stack(operands, **params)]
    if name == "unstack":
        return list(jnp.unstack(operands[0], **params))
    if name == "pad" and _only_widens(params):
        widths = [(before, after) for before, after, _ in params["padding_config"]]
        return [jnp.pad(operands[0], widths, constant_values=operands[1])]
    if name == "gather" and _takes_rows(params, *(operand.shape for operand in operands)):
        rows, indices = operands
        return [jnp.take(rows, np.asarray(indices)[..., 0], axis=0)]
    return bind(eqn, operands, **changed)


def _only_widens(params: Mapping[str, Any]) -> bool:
    """Whether a pad neither crops nor spreads."""
    return all(
        min(before, after) >= 0 == between for before, after, between in params["padding_config"]
    )


def _takes_rows(params: Mapping[str, Any], rows: tuple[Any, ...], indices: tuple[int, ...]) -> bool:
    """Whether a gather takes whole rows, each where its index stands."""
    numbers, leading = params["dimension_numbers"], len(indices) - 1
    return (
        numbers.start_index_map == numbers.collapsed_slice_dims == (0,)
        and not numbers.operand_batching_dims
        and numbers.offset_dims == tuple(range(leading, leading + len(rows) - 1))
        and (1, *rows[1:]) == tuple(params["slice_sizes"])
    )
