"""Acting on what was found: units switched off, scaled, limited, renamed; the head refitted."""
