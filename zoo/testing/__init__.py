"""The conformance kit: what every family must hold, ours or a stranger's."""
