"""What `zoo eval` does for each modality: a module each, with HELP and `command(target)`, the function for typer.

target: None while no model is known, as in `zoo eval --help`.
"""
