"""What `zoo sample` does for each modality: a module each, with one function.

command(target, controls_class, panel): the function of the command, for typer: its options are the common ones and
the fields of the controls class, shown under the heading `panel`. target: None while no model is known, as in
`zoo sample --help`.
"""
