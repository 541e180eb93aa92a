"""Published defences and ours, as functions of one type: one method a file."""
