"""Stored values of pins: writing, reading, and saying in one line what differs.

Digits repeat bit for bit on the same kind of processor with the same libraries; where the stored
machine is another one, numbers are compared with the tolerance of the pin instead.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
_LIBRARIES = ("jax", "jaxlib", "numpy", "flax", "optax", "pennylane", "scipy", "scikit-learn")
_MOST_NAMED = 3
_TOLERANCE = {"float32": 2e-5, "float64": 1e-10}

Values = Mapping[str, "str | np.ndarray"]


@dataclass(frozen=True)
class Pin:
    """Something that must not change.

    `compute` gets an empty folder and returns values by name: text, or arrays. Elsewhere, on
    another machine than the stored one, arrays may differ by `tolerance` (a dtype's name -> an
    absolute one), and text only in its numbers where `numbers_vary`.
    """

    name: str
    compute: Callable[[Path], Values]
    slow: bool = False
    tolerance: Mapping[str, float] = field(default_factory=lambda: _TOLERANCE)
    numbers_vary: bool = False
    needs: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The file with the accepted values."""
        return FOLDER / f"{self.name}.json"


def machine() -> dict[str, str]:
    """Describe what the last digits depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    # The first processor stands for all of them.
    cpu = dict(reversed([[part.strip() for part in x.split(":", 1)] for x in lines if ":" in x]))
    flags = " ".join(sorted(cpu.get("flags", "").split()))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": cpu.get("model name", platform.machine()),
        "flags": hashlib.sha256(flags.encode()).hexdigest()[:16],
        "cores": str(cores),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        **{name: importlib.metadata.version(name) for name in _LIBRARIES},
    }


def accept(pin: Pin, found: Values) -> None:
    """Store what was found."""
    lines = [f'"machine": {json.dumps(machine())}']
    lines += [f"{json.dumps(name)}: {_written(value)}" for name, value in found.items()]
    pin.path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def differences(pin: Pin, found: Values) -> list[str]:
    """Return what differs from the accepted values, one phrase each."""
    if not pin.path.exists():
        return ["nothing was accepted yet"]
    stored = json.loads(pin.path.read_text(encoding="utf-8"))
    same_machine = stored.pop("machine") == machine()
    missing = [f"{name} is gone" for name in stored if name not in found]
    new = [f"{name} is new" for name in found if name not in stored]
    changed = [
        f"{name}: {phrase}"
        for name, value in found.items()
        if name in stored and (phrase := _difference(pin, stored[name], value, same_machine))
    ]
    return missing + new + changed


def one_line(pin: Pin, phrases: list[str]) -> str:
    """Return the verdict on a pin."""
    if not phrases:
        return f"{pin.name}: as accepted"
    more = f"; and {len(phrases) - _MOST_NAMED} more" if len(phrases) > _MOST_NAMED else ""
    return f"{pin.name}: DIFFERS: {'; '.join(phrases[:_MOST_NAMED])}{more}"


def _written(value: str | np.ndarray) -> str:
    if isinstance(value, str):
        # A line each, for whoever reads what a change did to them.
        lines = ",\n  ".join(json.dumps(line, ensure_ascii=False) for line in value.split("\n"))
        return f"[\n  {lines}\n]"
    # The shortest decimals that give the same number again.
    content = [float(str(x)) if value.dtype.kind == "f" else int(x) for x in value.ravel()]
    return json.dumps({"dtype": str(value.dtype), "shape": value.shape, "values": content})


def _difference(pin: Pin, stored: Any, found: str | np.ndarray, same_machine: bool) -> str | None:
    if isinstance(found, str) != isinstance(stored, list):
        return "is of another kind"
    if isinstance(found, str):
        return _of_text(stored, found.split("\n"), pin.numbers_vary and not same_machine)
    before = np.array(stored["values"], stored["dtype"]).reshape(stored["shape"])
    if (before.shape, before.dtype) != (found.shape, found.dtype):
        return f"was {before.dtype}{list(before.shape)}, is {found.dtype}{list(found.shape)}"
    if before.tobytes() == np.ascontiguousarray(found).tobytes():
        return None
    allowed = 0.0 if same_machine else pin.tolerance.get(str(found.dtype), 0.0)
    if allowed and np.allclose(found, before, rtol=allowed, atol=allowed, equal_nan=True):
        return None
    different = ~np.isclose(found, before, rtol=0, atol=0, equal_nan=True)
    apart = np.where(different, np.abs(found.astype(float) - before.astype(float)), 0.0)
    place = np.unravel_index(int(np.nan_to_num(apart, nan=np.inf).argmax()), apart.shape)
    return (
        f"{int(different.sum())} of {found.size} numbers differ, the largest by "
        f"{apart[place]:.3g} (was {before[place]}, is {found[place]})"
    )


def _of_text(before: list[str], found: list[str], numbers_vary: bool) -> str | None:
    if numbers_vary:
        before = [_without_numbers(line) for line in before]
        found = [_without_numbers(line) for line in found]
    for number, (old, new) in enumerate(zip(before, found, strict=False), start=1):
        if old != new:
            return f"line {number} was {old[:160]!r}, is {new[:160]!r}"
    if len(before) != len(found):
        return f"had {len(before)} lines, has {len(found)}"
    return None


def _without_numbers(line: str) -> str:
    # Signs too, and the words that go with whether something is significant stay.
    return re.sub(r"[−+-]?\d[\d,.]*(e[+-]?\d+)?", "#", line)
