"""What is read off a model: pairs, prompts, residual streams, directions, drift, separability."""
