"""How a model is loaded, identified and hooked."""
