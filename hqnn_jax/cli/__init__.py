"""The command line: one module per command; the only place that words commands and prints."""
