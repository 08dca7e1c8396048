"""The page, the JSON beside it, and the same for a terminal: what `explain` and `compare` found."""

from .render import render_page, render_report
from .text import comparison_text, explanation_text

__all__ = ["comparison_text", "explanation_text", "render_page", "render_report"]
