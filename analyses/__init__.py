"""What is asked of a model, and what the answers mean."""
