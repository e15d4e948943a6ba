"""The history: lines that a kill may have cut off, and damaged ones."""

import pytest

from hqnn_jax.errors import RunFolderError
from hqnn_jax.training.history import append_record, read_history

RECORD = {"seed": 0, "epoch": 1, "train_loss": 1.5, "train_accuracy": 0.5, "validation_loss": 2,
          "validation_accuracy": 0.25, "seconds": 0.5}  # fmt: skip


def test_history_is_read_up_to_a_half_written_line(tmp_path):
    history = tmp_path / "history.jsonl"
    assert read_history(history) == []
    records = [RECORD, RECORD | {"seed": 1}]
    for record in records:
        append_record(history, record)
    with history.open("a") as file:
        file.write('{"seed": 2, "ep')
    assert read_history(history) == records
    assert read_history(history, 1) == records[1:]
    with pytest.raises(RunFolderError, match=r"history\.jsonl: cannot be read \(line 3"):
        read_history(history, finished=True)


@pytest.mark.parametrize("line", ["[]", "3", "null", '"text"', "{}", "\ud800", "{", ""])
def test_a_damaged_line_of_the_history_is_told(tmp_path, line):
    history = tmp_path / "history.jsonl"
    append_record(history, RECORD)
    content = history.read_bytes() + line.encode(errors="surrogatepass") + b"\n"
    history.write_bytes(content)
    append_record(history, RECORD)
    for finished in (False, True):
        with pytest.raises(RunFolderError, match=r"history\.jsonl: .*line 2.*; restore it") as told:
            read_history(history, finished=finished)
        assert "\n" not in str(told.value)
    assert history.read_bytes().startswith(content)


@pytest.mark.parametrize("change", [{"seed": "0"}, {"epoch": 1.5}, {"validation_loss": None}])
def test_figures_of_the_history_are_numbers(tmp_path, change):
    history = tmp_path / "history.jsonl"
    append_record(history, RECORD | change)
    with pytest.raises(RunFolderError, match=f"line 1: {next(iter(change))}: expected a number"):
        read_history(history)
