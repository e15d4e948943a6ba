"""Trained models that are part of the package: a folder each, as a run leaves one in `model/`."""
