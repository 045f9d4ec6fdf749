"""Our own networks, and the conversion between pictures and tensors."""
