"""Errors whose message is written for the user.

Each message is one line: what is wrong, where, what was expected, what to do. The command line
prints it without a traceback and exits with `exit_code`; anything else that escapes is a bug and
keeps its traceback.
"""

from hqnn_jax.text import one_line


def printable(text: str) -> str:
    """Return text that can be written anywhere: what is no UTF-8 in a file name, as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def reason_of(error: Exception) -> str:
    """Return the message of somebody else's error on one line; its kind where it has none."""
    return one_line(error) or type(error).__name__


class HqnnError(Exception):
    """Base class of every error a user can cause or repair."""

    exit_code = 1

    def __str__(self) -> str:
        """Return the message; it may name files, whose names may be no UTF-8."""
        return printable(super().__str__())


class ConfigurationError(HqnnError):
    """A configuration file, override or command line that cannot be accepted."""

    exit_code = 2


class DataError(HqnnError):
    """A dataset that is missing, damaged or inconsistent with its description."""


class PretrainedWeightsError(HqnnError):
    """A weight file that is missing or does not fit the architecture."""


class CircuitError(HqnnError):
    """A quantum function that cannot be captured or evaluated as asked."""


class RunFolderError(HqnnError):
    """An output folder that cannot be used, or holds something that must not be overwritten."""


class CheckpointError(HqnnError):
    """A checkpoint that is damaged or belongs to another configuration."""


class ModelFolderError(HqnnError):
    """A trained model that is missing, damaged or of another version."""


class ExportError(HqnnError):
    """A model that cannot be written in the format that is asked for."""


class ServingError(HqnnError):
    """A server that cannot be started."""


class TrainingError(HqnnError):
    """Training that cannot go on (non-finite loss, for example)."""


class HardwareError(HqnnError):
    """A backend that cannot be reached or used, or a circuit that cannot run on it."""
