"""Finding the file of a checkpoint; reading and writing weight files."""
