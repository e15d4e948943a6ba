"""Ablations: many arms, the same seeds for each, paired differences and what follows from them."""
