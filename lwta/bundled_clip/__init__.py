"""The script that trains the small CLIP of the painted scenes."""
