"""The drift at the image's own tokens: what its removal does there, alone and with a gate at the last token."""
