"""Files of strangers, read as upright RGB pictures within limits of time and memory."""
