"""How values of each modality are asked for, read, previewed and saved."""

MODALITIES = ("text", "image", "audio", "table", "sequence", "molecule")

CODEC_FILE = {
    "text": "tokenizer.json",
    "image": "classes.json",
    "table": "columns.json",
    "sequence": "sequence.json",
    "molecule": "vocabulary.json",
}
"""Modality to the file beside the weights that training writes and a model is read from; audio needs none."""
