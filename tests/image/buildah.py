"""Container images without a daemon and without an image registry, from Debian's own packages."""

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

DEBIAN = "bookworm"  # its python3 is 3.11
BASE = "localhost/python:3.11-slim"
BUILD_BASE = "localhost/python:3.11-slim-binutils"
# Of the files and the image: any moment will do, as long as it is the same one.
TIMESTAMP = 1_700_000_000
# What pip may need to reach its registry from inside the build.
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "cert", "default-timeout")


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """What a command wrote. SystemExit with all of it when the command fails."""
    done = subprocess.run(
        command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise SystemExit(f"image: FAILED ({done.returncode}): {shlex.join(map(str, command))}")
    return done.stdout


def install_tools() -> None:
    """Installs buildah and debootstrap where they are missing. SystemExit where that cannot be."""
    missing = [tool for tool in ("buildah", "debootstrap") if not shutil.which(tool)]
    if os.geteuid() or (missing and not shutil.which("apt-get")):
        raise SystemExit("image: error: needs root, and Debian's packages buildah and debootstrap")
    if missing:
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "update", env=quiet)
        run("apt-get", "install", "--yes", "--no-install-recommends", *missing, env=quiet)


class Buildah:
    """buildah with its storage in `folder`, between __init__ and close()."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # A chroot needs no more privileges than this script has.
        self.environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
        # overlay is quicker, vfs works everywhere.
        for driver in ("overlay", "vfs"):
            self.environment["STORAGE_DRIVER"] = driver
            with contextlib.suppress(SystemExit):
                self("rm", self("from", "scratch").strip())
                return
            shutil.rmtree(folder / "storage", ignore_errors=True)
        raise SystemExit("image: error: buildah works here neither on overlay nor on vfs")

    def command(self, verb: str, *arguments: str | Path) -> list[str]:
        """The command line of a call, for a process that goes on in `environment`."""
        roots = ["--root", self.folder / "storage", "--runroot", self.folder / "run"]
        return list(map(str, ["buildah", *roots, verb, *arguments]))

    def __call__(self, verb: str, *arguments: str | Path) -> str:
        """What buildah wrote."""
        return run(*self.command(verb, *arguments), env=self.environment)

    def close(self) -> None:
        """Takes down what is mounted, so that the folder can go."""
        with contextlib.suppress(SystemExit):
            self("rm", "--all")

    def make_base(self) -> None:
        """Commits a Debian with Python where python:3.11-slim has it, as BASE and BUILD_BASE."""
        root = self.folder / "base"
        # The mirror that this machine's apt uses; debootstrap's own default when it names none.
        mirrors = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
        packages = "--include=ca-certificates,python3,python3-pip,python3-venv,binutils"
        run("debootstrap", "--variant=minbase", packages, DEBIAN, root, *mirrors.split()[:1])
        for name in ("python3", "python3.11"):
            (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3.11")
        self._commit(root, BUILD_BASE)
        run("chroot", root, "apt-get", "purge", "--yes", "--auto-remove", "binutils")
        run("chroot", root, "apt-get", "clean")
        self._commit(root, BASE)
        shutil.rmtree(root)

    def _commit(self, root: Path, image: str) -> None:
        container = self("from", "scratch").strip()
        self("add", container, root, "/")
        self("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", container)
        self("commit", container, image)
        self("rm", container)

    def build(self, context: Path, image: str) -> list[str]:
        """Builds context's Dockerfile, all of it; its layers' digests, the base's first.

        Not the image's own: buildah writes into docker's format the names of the containers that it
        built in.

        pip reaches its registry as this machine's does: the settings are mounted for the build
        only, and the image keeps nothing of them.
        """
        pip_conf = self.folder / "pip.conf"
        pip_conf.write_text("\n".join(["[global]", *pip_settings(), ""]))
        mounts = ["--volume", f"{pip_conf}:/etc/pip.conf:ro"]
        if Path("/etc/ssl/certs").is_dir():
            mounts += ["--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
        bases = ["--build-arg", f"BASE={BASE}", "--build-arg", f"BUILD_BASE={BUILD_BASE}"]
        how = ["--format", "docker", "--pull-never", "--layers", "--no-cache"]
        same = ["--timestamp", str(TIMESTAMP)]
        self("bud", *how, *same, *bases, *mounts, "--tag", image, context)
        made = json.loads(self("inspect", "--type", "image", image))
        digests: list[str] = made["OCIv1"]["rootfs"]["diff_ids"]
        return digests

    def layer_bytes(self, image: str) -> list[int]:
        """The sizes of the image's layers as they lie on a disk, the base's first."""
        folder = self.folder / "layers"
        self("push", "--disable-compression", image, f"dir:{folder}")
        manifest = json.loads((folder / "manifest.json").read_text())
        shutil.rmtree(folder)
        return [each["size"] for each in manifest["layers"]]


def pip_settings() -> list[str]:
    """Lines of a pip.conf that say what this machine's pip configuration says."""
    chosen: dict[str, str] = {}
    for line in run(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        # One from the environment (":env:") is listed first, and pip heeds it first too.
        chosen.setdefault(name.rpartition(".")[2], value.strip("'"))
    return [f"{name} = {chosen[name]}" for name in PIP_SETTINGS if name in chosen]
