"""What is read from a model: pairs, prompts, residual streams, directions, drift, separability."""
