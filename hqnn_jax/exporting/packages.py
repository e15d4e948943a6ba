"""Packages that a format needs and that are not installed with this one."""

from importlib.util import find_spec

from hqnn_jax.errors import ExportError


def require(format_name: str, package: str, extra: str) -> None:
    """Raise ExportError where a package is missing, with the command that installs it."""
    if find_spec(package) is None:
        raise ExportError(
            f"{format_name}: needs the package {package}, which is not installed; "
            f'run: python -m pip install "hqnn-jax[{extra}]"'
        )
