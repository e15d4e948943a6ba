"""Runs: the set-up of one, its folder, training and evaluating it, and what it leaves."""
