"""Data to train on and to measure with: built-in names, files, folders and the Hub's datasets."""
