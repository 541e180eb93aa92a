"""How ReGap's recipe is chosen on calibration pairs."""
