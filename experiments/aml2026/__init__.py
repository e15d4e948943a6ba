"""aml2026: quantum and classical methods for images of leukaemia with few labels."""

from hqnn_jax.experiments.aml2026.study import REFERENCE, TITLE, published, reproduce

__all__ = ["REFERENCE", "TITLE", "published", "reproduce"]
