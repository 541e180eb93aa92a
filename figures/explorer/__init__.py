"""The explorer: a local web application with views of run folders, made only from their tables."""
