"""Commands beside the files that they read, which are damaged one at a time.

Bytes are flipped, and files cut, emptied or replaced. The command ends with exit code 0, 1 or 2
and, if not 0, with one line of error; no file is touched but those it is to write.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hqnn_jax.ablation import run as ablation_run
from hqnn_jax.ablation.report import describe
from hqnn_jax.errors import HqnnError
from hqnn_jax.experiments import hardware
from hqnn_jax.files import write_json
from hqnn_jax.reporting import style
from tests.command_line import call
from tests.small_runs import small_run

SMALL = small_run(
    (32, 16, 24),
    """
  feature_scaling: standardised_tanh
training: {epochs: 1, batch_size: 16}
evaluation: {bootstrap_samples: 100, explained_images: 0}
seeds: 2
""",
    resolution=16,
    frozen=True,
)
ABLATION = SMALL + "ablation:\n  axes: {middle: [quantum, none]}\n"
HARDWARE = "backend: aer\nshots: 16\ninterval_samples: 100\nimages: {count: 4}\n"

TEXTS = (
    b"null", b"[]", b"{}", b"7", b'"text"', b"some text\n", b"a: 1\nb: [1, 2]\n", b"\x00" * 64,
    b"\xff\xfe\x00a", b'{"a": "\\ud800"}', b"[" * 3000, b"{" * 3000, b"&a [*a, *a]", b"PK\x03\x04",
    b"\x93NUMPY\x01\x00", b"\x89HDF\r\n\x1a\n", b"%!PS-Adobe-3.0\n", b"1e999",
    b"import sys\nsys.exit()", b"raise SystemExit(3)",
)  # fmt: skip


NOT_BEGUN = "all files were read"


@st.composite
def damages(draw) -> Callable[[bytes], bytes]:
    """A way to damage a file, for content of any length."""
    kind = draw(st.sampled_from(("flip", "flip", "cut", "drop", "replace")))
    share = st.floats(0, 1, exclude_max=True)
    if kind == "replace":
        text = draw(st.sampled_from((b"", *TEXTS)))
        return lambda content: text
    first, second = draw(share), draw(share)
    if kind == "cut":
        return lambda content: content[: int(first * len(content))]
    if kind == "drop":
        low, high = sorted((first, second))
        return lambda content: (
            content[: int(low * len(content))] + content[int(high * len(content)) :]
        )
    places = draw(st.lists(st.tuples(share, st.integers(1, 255)), min_size=1, max_size=3))

    def flip(content: bytes) -> bytes:
        changed = bytearray(content)
        for place, bits in places if changed else ():
            changed[int(place * len(changed))] ^= bits
        return bytes(changed)

    return flip


@dataclass
class Scene:
    """A folder with everything a command reads, and the command.

    Attributes:
        folder: what is damaged; `files`: which of it, in order.
        arguments: of the command line, or a function that is called in its place.
        written: what the command may write, as ends of paths.
        stubs: what is costly or must not begin: (object, name, replacement).
        ends: with what error, if any, it ends while nothing is damaged.
    """

    folder: Path
    files: list[Path]
    arguments: tuple[object, ...] | Callable[[], None]
    written: tuple[str, ...] = ()
    stubs: list[tuple[object, str, object]] = field(default_factory=list)
    ends: str = NOT_BEGUN

    def __post_init__(self):
        """Note the content of every file."""
        self.content = {
            path: path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()
        }
        assert self.files

    def restore(self) -> None:
        """Put everything back as it was."""
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_file() and path not in self.content:
                path.unlink()
        for path, content in self.content.items():
            if not path.exists() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def run(self) -> tuple[int, str]:
        """Run the command; returns its exit code and what it printed to standard error."""
        with pytest.MonkeyPatch.context() as patch:
            for owner, name, replacement in self.stubs:
                patch.setattr(owner, name, replacement)
            if not callable(self.arguments):
                code, _, err = call(*self.arguments)
                return code, err
            try:
                self.arguments()
            except HqnnError as error:
                return error.exit_code, f"error: {error}"
            return 0, ""

    def check_undamaged(self) -> None:
        """Run the command with all files as they should be: it gets as far as is of interest."""
        code, err = self.run()
        last = err.strip().splitlines()[-1] if code else ""
        self.restore()
        assert not last or self.ends in last, err

    def check(self, path: Path, damage: Callable[[bytes], bytes]) -> None:
        """Damage one file, run the command and compare."""
        damaged = damage(self.content[path])
        if damaged == self.content[path]:
            return
        path.write_bytes(damaged)
        try:
            code, err = self.run()
            assert code in (0, 1, 2)
            assert "Traceback" not in err, err
            errors = [line for line in err.splitlines() if line.startswith("error: ")]
            assert len(errors) == (code != 0), err
            assert code == 0 or err.strip().splitlines()[-1] == errors[0], err
            for other, content in self.content.items():
                if not str(other).endswith(self.written):
                    expected = damaged if other == path else content
                    assert other.read_bytes() == expected, other
        finally:
            self.restore()


def not_begun(*_: object, **__: object) -> None:
    """Stands for work that would begin with files that can be read."""
    raise HqnnError(NOT_BEGUN)


def light_figures() -> list[tuple[object, str, object]]:
    """Leave out what is drawn."""
    return [
        (style, "data_uri", lambda *_, **__: ""),
        (ablation_run, "write_reports", lambda r, f: write_json(f / "study.json", describe(r))),
        (hardware, "write_hardware_report", lambda path, results, _: write_json(path, {})),
    ]


def files(folder: Path, *patterns: str) -> list[Path]:
    """Return the files that match, in order."""
    return sorted({p for pattern in patterns for p in folder.glob(pattern) if p.is_file()})


def configuration(path: Path, text: str, *arguments: object, begins: tuple[object, str]) -> Scene:
    """Write a configuration and return the command that would begin with it by a function."""
    path.parent.mkdir()
    path.write_text(text)
    return Scene(path.parent, [path], arguments, (), [(*begins, not_begun)])


def done(*arguments: object, stubs: list | None = None) -> None:
    """Run a command that has to succeed."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, replacement in stubs or []:
            patch.setattr(owner, name, replacement)
        code, _, err = call(*arguments)
    assert code == 0, err


# --- the tests ------------------------------------------------------------------------------------


def fuzz(scene: Scene, examples: int) -> None:
    """Check many damages of the files of a scene."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=examples < 50,
    )
    @given(st.sampled_from(scene.files), damages())
    def check(path: Path, damage: Callable[[bytes], bytes]) -> None:
        scene.check(path, damage)

    scene.check_undamaged()
    check()


def tried(examples: dict[str, int]) -> list[object]:
    """Return scene and number of damages: those of the normal suite, and many more."""
    many = (pytest.mark.slow, pytest.mark.timeout(7200))
    quick = [pytest.param(name, count, id=name) for name, count in examples.items()]
    return quick + [
        pytest.param(name, 40 * count, id=f"{name}-many", marks=many)
        for name, count in examples.items()
    ]
