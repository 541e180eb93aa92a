"""From prompts to model inputs, and the role of each token."""
