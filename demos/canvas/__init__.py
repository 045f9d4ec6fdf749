"""The picture that answers clicks: its component, what it sends and what it gets."""
