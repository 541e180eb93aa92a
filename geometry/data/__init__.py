"""What is asked of a model: pairs of requests, their pictures, and the files that they come from."""
