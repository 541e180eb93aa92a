"""A loaded model that answers questions about single prompts."""
