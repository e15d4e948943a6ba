"""A trained model as a thing of its own: stored, loaded and predicted with, without its dataset."""
