"""The steps of Segment: engines, clicks, everything mode, and code snippets for users."""
