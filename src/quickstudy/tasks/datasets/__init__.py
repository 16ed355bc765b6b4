"""Data sets as their publishers serve them, and one rendered on the spot."""
