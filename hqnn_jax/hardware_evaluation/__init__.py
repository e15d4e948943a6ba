"""A trained circuit taken to a quantum backend: its arms, its fine-tuning, its report."""
