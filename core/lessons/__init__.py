"""What a model does inside: pure functions with typed results."""
