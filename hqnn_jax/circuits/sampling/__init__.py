"""Estimates from random draws: measurements of words, trajectories of a noisy state."""
