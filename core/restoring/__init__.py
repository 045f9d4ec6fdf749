"""The steps of Restore: tiles for large pictures, and a guard that checks each output."""
