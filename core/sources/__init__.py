"""Where the file of a checkpoint comes from; reading and writing weight files."""
