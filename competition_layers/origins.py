"""Where a network comes from, by its name: timm, a folder, a hub, torchvision, or a function of one's own."""

import re
from pathlib import Path

TORCHVISION = "torchvision:"
_OF_OTHERS = ("hf-hub:", "local-dir:", TORCHVISION)
_WITH_WORD = re.compile(r"([A-Za-z_][\w.]*:[A-Za-z_]\w*)=(.+)")


def is_function(name: str) -> bool:
    """Whether `name` is a function that makes the network, `package.module:function`.

    >>> is_function("my_networks:small"), is_function("torchvision:resnet18"), is_function("resnet18")
    (True, False, False)
    """
    return ":" in name and not name.startswith(_OF_OTHERS) and not Path(name).exists()


def is_elsewhere(name: str) -> bool:
    """Whether `name` is torchvision's or a function."""
    return name.startswith(TORCHVISION) or is_function(name)


def split_word(source: str) -> tuple[str, str]:
    """A person's word that a function may be called for a folder, and the folder: `package.module:function=FOLDER`.

    >>> split_word("my_networks:small=runs/photos"), split_word("runs/photos")
    (('my_networks:small', 'runs/photos'), ('', 'runs/photos'))
    """
    found = _WITH_WORD.fullmatch(source)
    return (found[1], found[2]) if found and not Path(source).exists() else ("", source)
