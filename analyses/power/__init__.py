"""How often the criteria of the claims are met, in simulated worlds where the claim is true and where it is false."""
