"""Systems that describe units, one file each."""

from .concept_match import Candidate, Description, name_units

__all__ = ["Candidate", "Description", "name_units"]
