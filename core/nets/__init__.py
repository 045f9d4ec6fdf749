"""Networks of our own, and the way between pictures and tensors."""
