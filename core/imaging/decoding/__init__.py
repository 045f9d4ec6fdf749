"""Decode untrusted files to upright RGB pictures within limits of time and memory."""
