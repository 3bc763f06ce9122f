"""Shows that the container image builds and serves, on a Debian machine without a container daemon.

Run as root: `make image-check`. buildah builds the Dockerfile twice, to the same layers, on
a base that debootstrap makes in place of python:3.11-slim, so no image registry is needed either.
Then the image's own entry point runs as its own user on a read-only root, against a mongod of the
embedded extra; clients call it with TLS and a token, and without; its health check is asked and it
is told to stop. The first failure ends the script with status 1; what it made is gone then.
"""

import asyncio
import contextlib
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.image.buildah import Buildah, install_tools, run
from tests.image.claims import check, passed
from tests.image.serving import USER, check_service

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGE = "localhost/turnkeep:check"
MOST_DEPENDENCY_BYTES = 150_000_000


def main() -> None:
    """The story, from an empty folder to the last claim."""
    install_tools()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="turnkeep-image-")))
        buildah = Buildah(folder)
        stack.callback(buildah.close)
        buildah.make_base()
        check_build(buildah)
        check_size(buildah.layer_bytes(IMAGE))
        config = json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]
        check_configuration(config)
        container = buildah("from", "--pull-never", IMAGE).strip()
        tree = Path(buildah("mount", container).strip())
        stack.callback(buildah, "umount", container)
        check_content(tree)
        make_secrets(tree)
        asyncio.run(check_service(folder, tree, config))
    print(f"{len(passed)} passed, 0 failed")


def check_build(buildah: Buildah) -> None:
    """Twice, from nothing each time."""
    started = time.monotonic()
    first = buildah.build(REPOSITORY, IMAGE)
    print(f"image: built in {time.monotonic() - started:.0f} s: {first[-2:]}", flush=True)
    check(buildah.build(REPOSITORY, IMAGE) == first, "built again, its layers are the same")


def check_size(layers: list[int]) -> None:
    """The base's layer, the dependencies', ours."""
    base, dependencies, ours = layers
    for name, size in (("base", base), ("dependencies", dependencies), ("turnkeep", ours)):
        print(f"image: layer {name}: {size / 1e6:.1f} MB", flush=True)
    check(dependencies <= MOST_DEPENDENCY_BYTES, "the dependencies' layer is 150 MB or less")


def check_configuration(config: dict[str, Any]) -> None:
    """What docker inspect would show."""
    check(config["Entrypoint"] == ["turnkeep-server"], "the entry point is in exec form")
    check(config["User"] == f"{USER}:{USER}", "the user is a number and not root")
    check("TURNKEEP_LISTEN=0.0.0.0:50051" in config["Env"], "listens on every address, 50051")
    check("50051/tcp" in config["ExposedPorts"], "exposes 50051")
    check(config["Healthcheck"]["Test"][0] == "CMD", "the health check is in exec form")


def check_content(tree: Path) -> None:
    """What is in it, and what is not."""
    packages = tree / "opt/turnkeep/lib/python3.11/site-packages"
    check(not list(tree.glob("opt/turnkeep/**/mongod")), "no mongod inside")
    check(not list(tree.glob("opt/turnkeep/**/pip")), "no pip in the server's environment")
    sources = {each.stem for each in (packages / "turnkeep_server").glob("*.py")}
    compiled = (packages / "turnkeep_server/__pycache__").glob("*.pyc")
    check(sources == {each.name.partition(".")[0] for each in compiled}, "all of it is compiled")
    licensed = [*packages.glob("*.dist-info/licenses/*"), *packages.glob("*.dist-info/LICEN[SC]E*")]
    check(len(licensed) > 40, f"licences come along: {len(licensed)} texts")


def make_secrets(tree: Path) -> None:
    """A certificate of its own authority. The folder is where a volume would be mounted."""
    secrets = tree / "etc/turnkeep"
    secrets.mkdir()
    run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *(
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=turnkeep",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ),
        *("-keyout", secrets / "tls.key", "-out", secrets / "tls.crt"),
    )
    for file in secrets.iterdir():
        file.chmod(0o400)
        shutil.chown(file, int(USER), int(USER))


if __name__ == "__main__":
    main()
