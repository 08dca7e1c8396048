"""How far a name can be trusted: halves, null, intervals, near-synonyms. Pure functions of tensors."""
