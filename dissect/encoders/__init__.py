"""Images and words in one space."""
