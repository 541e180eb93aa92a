"""regap: measure, explain and repair the collapse of safety geometry in vision-language models."""
