"""Where the tokens of a text stand in its picture."""

from regap.geometry.data.letter_grid import Layout
from regap.organism.english.base import Base
from regap.organism.english.reading import token_patches


def test_a_token_ends_on_the_patch_of_its_last_letter(base: Base) -> None:
    tokenizer = base.tokenizer()
    layout = Layout.of("Write a letter to my landlord", 8, 16)
    found = token_patches(layout, tokenizer, 8)
    assert tokenizer.decode([token for token, _ in found]) == layout.text
    patches = [patch for _, patch in found]
    assert patches == sorted(patches)
    row, column = divmod(patches[-1], 8)
    assert (row, column) == (len(layout.lines) - 1, (len(layout.lines[-1]) - 1) // 2)
