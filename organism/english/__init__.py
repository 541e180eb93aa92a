"""A second subject: a pretrained language model that speaks English, with a tower that reads requests in pictures."""
