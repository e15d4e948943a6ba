"""Files: written atomically, read with any damage told in one line, and locked."""

import errno
import io
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float, Int

from hqnn_jax import files
from hqnn_jax.errors import DataError, RunFolderError

ARRAYS = {
    "probabilities": np.random.default_rng(0).random((3, 2), np.float32),
    "labels": np.arange(3),
    "record": np.asarray('{"seed": 0}'),
    "empty": np.zeros((0, 2)),
}
RECORD = {"status": "finished", "seeds": [{"seed": 0, "name": "β cell"}], "time": None}
ADVICE = "run it again"
HOLDER = """
import sys, time
from pathlib import Path
from hqnn_jax.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def npz(compressed: bool) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, allow_pickle=False, **ARRAYS)
    return buffer.getvalue()


NPZ = {compressed: npz(compressed) for compressed in (False, True)}


def one_line(error: Exception) -> str:
    assert "\n" not in str(error)
    return str(error)


def check_refusal(error: Exception, path) -> None:
    assert one_line(error).startswith(f"{path}: ")
    assert one_line(error).endswith(f"; {ADVICE}")


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "file"


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_arrays_with_flipped_bytes_are_read_or_refused_in_one_line(damaged, data):
    content = bytearray(NPZ[data.draw(st.booleans())])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    damaged.write_bytes(content[: data.draw(st.integers(0, len(content))) or None])
    try:
        found = files.read_arrays(damaged, DataError, ADVICE)
    except DataError as error:
        check_refusal(error, damaged)
    else:
        # Names are not under the checksums, values are.
        for name in found.keys() & ARRAYS.keys():
            np.testing.assert_array_equal(found[name], ARRAYS[name])


HEADERS = [
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"9" * 30 + b",), }",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000,), }",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }",
    b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    b"{'descr': [('a', 3)], 'fortran_order': False, 'shape': (1,), }",
    b"(" * 5000,
    b"'''",
    b"{'descr': ",
    b"\xff\xfe",
    b"[]",
]


@pytest.mark.parametrize("header", HEADERS)
def test_headers_nobody_wrote_are_refused_although_their_checksum_is_right(tmp_path, header):
    path = tmp_path / "a.npz"
    header = header + b"\n"
    with zipfile.ZipFile(path, "w") as members:
        members.writestr(
            "x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)
        )
    with pytest.raises(DataError, match=r"a\.npz: cannot be read \(.*\); run it again") as caught:
        files.read_arrays(path, DataError, ADVICE)
    one_line(caught.value)


def test_other_zip_files_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    for name, method in (("x.npy", zipfile.ZIP_LZMA), ("notes.txt", zipfile.ZIP_STORED)):
        with zipfile.ZipFile(path, "w", method) as members:
            members.writestr(name, b"no array")
        with pytest.raises(DataError, match="cannot be read"):
            files.read_arrays(path, DataError, ADVICE)


def test_arrays_have_the_expected_types_and_agree_in_their_axes(tmp_path):
    path = tmp_path / "a.npz"
    files.write_arrays(path, ARRAYS)
    expected = {
        "probabilities": Float[np.ndarray, "samples classes"],
        "labels": Int[np.ndarray, " samples"],
    }
    found = files.read_arrays(path, RunFolderError, ADVICE, expected)
    assert found.keys() == ARRAYS.keys()
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(found[name], values)

    def refused(expected, **changes):
        files.write_arrays(path, ARRAYS | changes)
        with pytest.raises(RunFolderError) as caught:
            files.read_arrays(path, RunFolderError, ADVICE, expected)
        return one_line(caught.value)

    assert "lacks logits, cams" in refused(dict.fromkeys(("logits", "labels", "cams"), Float))
    assert "labels: expected int (samples), got int64 (4)" in refused(expected, labels=np.arange(4))
    assert "got float64 (3)" in refused(expected, labels=np.zeros(3))
    assert "expected float (samples classes), got int64 (2 3)" in refused(
        expected, probabilities=np.zeros((2, 3), int)
    )


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_json_with_flipped_bytes_is_read_or_refused_in_one_line(damaged, data):
    content = bytearray(json.dumps(RECORD, ensure_ascii=data.draw(st.booleans())).encode())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    damaged.write_bytes(content)
    for reader in (files.read_json, files.read_json_lines):
        try:
            found = reader(damaged, DataError, ADVICE)
        except DataError as error:
            check_refusal(error, damaged)
        else:
            json.dumps(found, ensure_ascii=False).encode()


BAD_JSON = [b"", b"{", b"[]", b"3", b"null", b'"a"', b"[" * 100_000, b"\xff{}", b'{"a": "\\ud800"}',
            b'{"a": ' + b"1" * 5000 + b"}", b'\xff\xfe{\x00}\x00']  # fmt: skip


@pytest.mark.parametrize("content", BAD_JSON)
def test_json_that_is_no_object_is_refused(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"a\.json: cannot be read \(.*\); run it again"):
        files.read_json(path, RunFolderError, ADVICE)
    path.write_bytes(b'{"a": 1}\n' + content + b"\n")
    with pytest.raises(RunFolderError, match=r"a\.json: cannot be read \(line 2: "):
        files.read_json_lines(path, RunFolderError, ADVICE)


class Expected(pydantic.BaseModel):
    name: str
    sizes: list[int]


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ({"name": "a", "sizes": [1, 2], "more": None}, None),
        ({"name": "a"}, "lacks sizes"),
        ({"name": 3, "sizes": []}, "name: input should be a valid string"),
        ({"name": "a", "sizes": [1, "2"]}, "sizes.1: input should be a valid integer"),
        ({"name": "a", "sizes": {"0": 1}}, "sizes: input should be a valid list"),
    ],
)
def test_json_is_what_is_expected_or_refused(tmp_path, content, wrong):
    path = tmp_path / "a.json"
    files.write_json(path, content)
    if wrong is None:
        assert files.read_json(path, DataError, ADVICE, Expected) == content
        return
    with pytest.raises(DataError) as error:
        files.read_json(path, DataError, ADVICE, Expected)
    assert str(error.value) == f"{path}: {wrong}; {ADVICE}"


def test_only_a_killed_writers_last_line_may_be_broken(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2}\n{"a"')
    assert files.read_json_lines(path, DataError, ADVICE, whole=False) == [{"a": 1}, {"a": 2}]
    with pytest.raises(DataError, match="line 3"):
        files.read_json_lines(path, DataError, ADVICE)
    path.write_bytes(b'{"a": 1}\n{"a": 2}')
    assert files.read_json_lines(path, DataError, ADVICE) == [{"a": 1}, {"a": 2}]


def test_what_is_no_file_is_told(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    cases = {"absent": "missing", "pipe": "is no regular file", "loop": "cannot be read"}
    for name, reason in {**cases, "pipe/x": "missing", ".": "is a folder"}.items():
        for reader in (files.read_json, files.read_json_lines, files.read_arrays):
            with pytest.raises(DataError, match=f": {reason}.*; run it again"):
                reader(tmp_path / name, DataError, ADVICE)


def test_a_cached_array_is_that_which_was_written_or_none(tmp_path):
    path = tmp_path / "cache" / "a.npy"
    assert files.read_cached(path) is None
    array = np.random.default_rng(0).random((4, 3), np.float32)
    files.write_cached(path, array)
    np.testing.assert_array_equal(files.read_cached(path), array)
    np.testing.assert_array_equal(np.load(path), array)
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        changed = bytearray(content)
        changed[position] ^= 64
        path.write_bytes(changed)
        assert files.read_cached(path) is None
    for changed in (b"", content[:20], content[:-1], content + b"\0"):
        path.write_bytes(changed)
        assert files.read_cached(path) is None
    np.save(path, np.zeros_like(array))
    assert files.read_cached(path) is None


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_files_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        files.write_json(tmp_path / "a.json", {})
        files.write_json(tmp_path / "a.json", {"b": 1})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == mode


def test_an_interrupted_write_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "a"
    files.write_atomically(path, b"old")

    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def held(tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield folder, process
    process.kill()
    process.wait()


def test_a_folder_is_one_process_at_a_time_and_free_when_it_is_killed(held):
    folder, process = held
    leftover = folder / ".metrics.json.0123abcd.tmp"
    leftover.write_bytes(b"half")
    with (
        pytest.raises(RunFolderError, match=r"run: another process is working in this folder"),
        files.locked(folder),
    ):
        pass
    assert leftover.exists()
    process.kill()
    process.wait()
    with files.locked(folder):
        assert not leftover.exists()
        assert files.contents(folder) == set()


def test_waiting_ends_when_the_other_process_does(held):
    folder, process = held
    killer = threading.Timer(0.3, process.kill)
    killer.start()
    with files.locked(folder, wait=True):
        assert process.wait() == -signal.SIGKILL
    killer.join()


def test_the_lock_leaves_nothing(tmp_path):
    folder = tmp_path / "parent" / "run"
    with files.locked(folder):
        assert folder.is_dir()
        with files.locked(folder):
            pass
        with ThreadPoolExecutor() as pool:
            blocked = pool.submit(files.locked(folder).__enter__)
        with pytest.raises(RunFolderError, match="another process"):
            blocked.result()
    assert not folder.exists()
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="inside"), files.locked(tmp_path):
        raise ValueError("inside")
    assert {path.name for path in tmp_path.iterdir()} == {"parent", "thesis.tex"}


def test_only_own_temporaries_are_removed(tmp_path):
    kept = {"thesis.tex", ".thesis.document", ".git", "a.0123abcd.tmp", ".0123abcd.tmp"}
    for name in kept | {".a.json.0123abcd.tmp", ".lock"}:
        (tmp_path / name).touch()
    assert {path.name for path in files.contents(tmp_path)} == kept
    files.remove_temporaries(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept | {".lock"}


def test_a_folder_that_cannot_be_locked_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match=r"file: cannot create the folder.*File exists"):
        files.locked(tmp_path / "file").__enter__()

    def read_only(*arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(RunFolderError, match="or write to it: Read-only file system"):
        files.locked(tmp_path).__enter__()
