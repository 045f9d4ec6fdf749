"""Device, precision, caches, queue and batching: one request on one model."""
