"""What a model is asked: pairs, their pictures, and the files that they come from."""
