"""Weights: fetched, checked, loaded, saved and converted."""
