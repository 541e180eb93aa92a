"""What is written to a model: edits, generation under them, packs and defences."""
