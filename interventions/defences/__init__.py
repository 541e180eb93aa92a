"""Methods that others have published, and ours, as one function type: one method a file."""
