"""Device, precision, caches, queue and batching: running one request on one model."""
