"""How long things take that a person waits for, measured and never asserted."""
