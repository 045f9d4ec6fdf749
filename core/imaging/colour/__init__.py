"""Colour profiles, colour spaces and HDR, converted to sRGB."""
