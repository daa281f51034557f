"""Ways in which every rank gets the rows that all ranks have written: a shared window, messages."""
