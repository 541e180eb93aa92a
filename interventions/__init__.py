"""What changes a model: edits, generation under them, packs and defences."""
