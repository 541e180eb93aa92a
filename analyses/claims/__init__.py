"""The claims of the paper's abstract, one a file, each with its criterion."""
