"""How values of each modality are asked for, read, previewed and saved."""

MODALITIES = ("text", "image", "audio", "table", "sequence", "molecule")
