"""Training: state, compiled step, loop, optimisers, checkpoints, frozen features."""
