"""Gaussian mixtures and hidden Markov models, fitted by expectation maximisation."""
