"""Finished runs and predictions to test with."""

from tests.finished_runs import make_run, predict

__all__ = ["make_run", "predict"]
