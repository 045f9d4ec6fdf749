"""What makes a processor faster, or keeps its memory small, without changing an answer."""
