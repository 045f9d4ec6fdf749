"""What a file's numbers mean: profiles, colour spaces and HDR, converted to sRGB."""
