"""Systems that describe units, one file each."""

from ..naming.description import Candidate, Description
from .concept_matching import name_units

__all__ = ["Candidate", "Description", "name_units"]
