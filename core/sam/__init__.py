"""The steps of Segment: engines, clicks, everything mode, and the code that people copy."""
