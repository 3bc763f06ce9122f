"""A container's tree, run as a container runtime would: read-only, unprivileged, by its user.

The runtimes themselves need what a sandboxed machine does not grant (cgroups, limits). This is what
they do with --read-only --user --cap-drop=ALL --security-opt=no-new-privileges, by util-linux.
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.kit.child import Child

_CONFINE = """set -e
tree=$1 user=$2
shift 2
mount --bind "$tree" "$tree"
mount -o remount,bind,ro "$tree"
mount --rbind /proc "$tree/proc"
mount --rbind /dev "$tree/dev"
exec setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid \\
  /usr/sbin/chroot --userspec="$user" "$tree" "$@"
"""


class Confined:
    """Runs commands in the tree, each with exactly `env`, in mounts that end with it."""

    def __init__(self, tree: Path, user: str, env: Mapping[str, str]) -> None:
        self._start = ["unshare", "--mount", "--propagation=private", "bash", "-c", _CONFINE, "run"]
        self._start += [str(tree), user]
        self._env = dict(env)

    def child(self, command: Sequence[str], log: Path, **env: str) -> Child:
        """A process that goes on; its id is the command's own, for each step becomes the next."""
        return Child([*self._start, *command], env={**self._env, **env}, stdout=log, stderr=log)

    def __call__(self, *command: str, **env: str) -> "subprocess.CompletedProcess[bytes]":
        """A command run to its end."""
        return subprocess.run(
            [*self._start, *command],
            env={**self._env, **env},
            capture_output=True,
            check=False,
            timeout=60,
        )
