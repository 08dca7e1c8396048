"""What every unit does on every probe image."""
