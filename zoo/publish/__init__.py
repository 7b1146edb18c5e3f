"""Sending a run to the Hub, with its card."""
