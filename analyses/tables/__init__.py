"""Which tables a run folder holds, and what each column means."""
