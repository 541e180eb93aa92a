"""How a prompt becomes model inputs, and which role each token has."""
