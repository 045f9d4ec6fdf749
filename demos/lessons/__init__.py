"""One file for each lesson, found by discovery."""
