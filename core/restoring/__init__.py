"""The steps of Restore: tiles of large pictures, and the guard over each answer."""
