"""Which distributions are installed, read from their metadata alone."""

from collections.abc import Iterable, Mapping
from importlib import metadata

from .finding import Finding

NEEDED = ("torch", "torchvision", "timm", "open_clip_torch", "lightning", "torchmetrics", "jsonargparse", "safetensors")
MALWARE = {"lightning": ("2.6.2", "2.6.3"), "pytorch-lightning": ("2.6.2", "2.6.3")}
EXTRAS = {
    "onnx": (("onnx", "onnxruntime", "onnxscript"), "`lwta export --format onnx`"),
    "captions": (("transformers",), "`lwta describe --captioner MODEL`"),
    "llm": (("transformers", "accelerate", "gguf"), "`lwta describe --language_model MODEL`"),
    "diffusion": (("diffusers",), "`lwta describe --text_to_image MODEL`"),
    "tensorboard": (("tensorboard",), "a log beside metrics.csv"),
}
_KNOWN = ("lwta", *NEEDED, "pytorch-lightning", *(name for names, _ in EXTRAS.values() for name in names))

Versions = Mapping[str, str | None]


def installed_versions(names: Iterable[str] = _KNOWN) -> dict[str, str | None]:
    """The installed version of each distribution, None where there is none."""
    return {name: _version(name) for name in names}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_packages(versions: Versions) -> list[Finding]:
    """The packages that lwta needs."""
    missing = [name for name in NEEDED if not versions.get(name)]
    findings = []
    if len(missing) < len(NEEDED):
        findings.append(Finding(True, ", ".join(f"{name} {versions[name]}" for name in NEEDED if name not in missing)))
    if missing:
        # torchvision fits one torch only: where one of them is missing, both are asked for at once
        both = ["torch", "torchvision"] if {"torch", "torchvision"} & {*missing} else []
        wanted = " ".join(dict.fromkeys([*both, *missing]))
        findings.append(Finding(False, f"not installed: {', '.join(missing)}", f"pip install {wanted}", broken=True))
    return findings


def check_malware(versions: Versions) -> list[Finding]:
    """Releases that stole credentials (lightning 2.6.2 and 2.6.3)."""
    return [
        Finding(
            False,
            f"{name} {versions[name]} is malware: change every password and token kept on this machine",
            f"pip install --force-reinstall '{name}>=2.6.4'",
            broken=True,
        )
        for name, stolen in MALWARE.items()
        if versions.get(name) in stolen
    ]


def check_extras(versions: Versions) -> list[Finding]:
    """The optional packages, and the extra that installs them."""
    findings = []
    for extra, (names, use) in EXTRAS.items():
        missing = [name for name in names if not versions.get(name)]
        if missing:
            findings.append(
                Finding(False, f"not installed: {', '.join(missing)}, for {use}", f"pip install 'lwta[{extra}]'")
            )
        else:
            findings.append(Finding(True, f"{', '.join(f'{name} {versions[name]}' for name in names)}: {use}"))
    return findings
