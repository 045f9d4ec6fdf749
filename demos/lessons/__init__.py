"""One file per lesson, discovered automatically."""
