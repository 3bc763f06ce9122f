"""The Kubernetes manifests as kustomize makes them, with whichever kustomize there is."""

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = sorted(each.name for each in (ROOT / "deploy/kubernetes/overlays").iterdir())

Manifest = dict[str, Any]


def kustomize() -> list[str] | None:
    """The command that builds a folder."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    return ["kubectl", "kustomize"] if shutil.which("kubectl") else None


@functools.cache
def built(overlay: str) -> tuple[Manifest, ...]:
    """What would be applied. Skips the test where nothing can build it."""
    if (command := kustomize()) is None:
        pytest.skip("NOT CHECKED: deploy/kubernetes, for want of kustomize or kubectl")
    folder = ROOT / "deploy/kubernetes/overlays" / overlay
    made = subprocess.run([*command, folder], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return tuple(yaml.safe_load_all(made.stdout))


def one(overlay: str, kind: str, name: str = "turnkeep") -> Manifest:
    """The one manifest of that kind and name."""
    (found,) = (
        each
        for each in built(overlay)
        if each["kind"] == kind and each["metadata"]["name"].startswith(name)
    )
    return found
