"""Circuits as pictures, in which data and weights are told apart."""
