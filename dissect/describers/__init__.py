"""Systems that describe units, one file each."""

from .concept_match import name_units
from .description import Candidate, Description

__all__ = ["Candidate", "Description", "name_units"]
