"""CPU speed-ups and memory savings that do not change results."""
