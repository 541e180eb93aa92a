"""The bundled model organism: its invented world, its training and its weights."""
