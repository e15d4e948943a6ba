"""The configurations that are part of the package: `configs/` in a checkout."""

from __future__ import annotations

from pathlib import Path

import hqnn_jax.configs

CONFIGS = Path(hqnn_jax.configs.__file__).parent


def shipped_names() -> list[str]:
    """Return their names in order: paths in `CONFIGS` without suffix, with slashes."""
    return [
        path.relative_to(CONFIGS).with_suffix("").as_posix()
        for path in sorted(CONFIGS.rglob("*.yaml"))
    ]


def shipped(path: Path) -> Path | None:
    """Return the shipped file that a path such as `configs/quickstart.yaml` means, if any."""
    name = shipped_name(path)
    return CONFIGS / f"{name}.yaml" if name in shipped_names() else None


def shipped_name(path: Path) -> str:
    """Return a path without the folder's name and the suffix, as shipped ones are named."""
    return path.with_suffix("").as_posix().removeprefix("configs/")
