"""Claims about models: finished runs of several models on the same requests, with the models as units."""
