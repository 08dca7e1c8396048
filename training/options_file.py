"""Options in a YAML file, read in one way wherever they are read. Imports nothing heavy."""

from pathlib import Path
from typing import Any

import yaml


def read_options(path: Path) -> dict[str, Any]:
    """The plain values of a YAML mapping, by key; a tag that asks for an object is damage.

    Raises:
        ValueError: it is damaged, or no mapping. OSError: it cannot be read.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"Expected a YAML file of options but {str(path)!r} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"Expected a YAML file of options but {str(path)!r} holds {type(content).__name__}")
    return content
