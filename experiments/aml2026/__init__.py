"""aml2026: quantum and classical methods for images of leukaemia with few labels."""
