"""Progress on a terminal and without one."""

import pytest

from hqnn_jax.progress import Progress


@pytest.mark.parametrize("terminal", [True, False])
def test_tasks_can_follow_each_other_and_lines_come_between(terminal, capsys):
    progress = Progress(terminal=terminal)
    with progress.tasks() as report:
        report("downloading", 0, 100)
        report("downloading", 100, 100)
        report("preparing", 0, 0)
        report("preparing", 1, 0)
    with progress.task("features", 10) as advance:
        advance(4)
        progress.line("a line [with brackets] between")
        advance(6)
    with progress.epoch("epoch 1", 3) as advance:
        advance(3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "a line [with brackets] between" in captured.err
    assert ("\x1b" in captured.err) == terminal
    if not terminal:
        lines = captured.err.splitlines()
        assert lines[0] == "downloading …"
        assert lines[1].startswith("downloading: done in")
        assert lines[2] == "preparing …"
