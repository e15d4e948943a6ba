"""Noise: channels, the model that places them, and the noise of a device."""
