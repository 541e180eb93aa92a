"""An organism of two layers, which trains and answers in moments."""

from regap.organism.checkpoint import Architecture

SMALL = Architecture(
    decoder_layers=2,
    decoder_width=32,
    decoder_heads=2,
    decoder_inner=32,
    tower_layers=1,
    tower_width=32,
    tower_inner=32,
)
