"""Inside the new namespaces: close every door, then become the command.

Run as ``python walls.py FOLDER COMMAND…`` by :mod:`mmgen.classroom.sandbox`, through
``unshare``. Stands alone, so that it starts in milliseconds.
"""

import fcntl
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path


def loopback_up() -> None:
    """Jupyter talks to its kernel over the loopback, which a new namespace has down."""
    set_flags, up, running = 0x8914, 0x1, 0x40  # SIOCSIFFLAGS, IFF_UP, IFF_RUNNING
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh", b"lo", up | running)
        fcntl.ioctl(any_socket, set_flags, request)


def read_only_but(folder: str) -> None:
    """Make every mounted file system read-only, except ``folder``."""

    def mount(*arguments: str) -> bool:
        done = subprocess.run(["mount", *arguments], capture_output=True)
        return done.returncode == 0

    mount("--make-rprivate", "/")
    mount(
        "-t", "tmpfs", "-o", "size=512m", "tmpfs", "/dev/shm"
    )  # its own, ends with it
    if not mount("--bind", folder, folder):
        sys.exit(f"walls: cannot bind {folder}")
    table = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    keep = ("nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime")
    for line in table:
        _, point, kind, flags = line.split()[:4]
        point = point.encode().decode("unicode_escape")
        if point == folder or kind in ("proc", "devpts", "mqueue"):
            continue
        if kind in ("tmpfs", "devtmpfs") and point.startswith("/dev"):
            continue  # /dev/null and the /dev/shm just made
        # Flags that the outer namespace has set are locked: they must be named again.
        held = ",".join(flag for flag in flags.split(",") if flag in keep)
        options = "remount,bind,ro" + (f",{held}" if held else "")
        # /sys and its kin may be locked already; only the root decides.
        if not mount("-o", options, point) and point == "/":
            sys.exit("walls: cannot make the file system read-only")


def main() -> None:
    folder, *command = sys.argv[1:]
    loopback_up()
    read_only_but(folder)
    os.chdir(folder)
    # Without capabilities nothing inside can undo what was just done.
    locked = ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    os.execvp("setpriv", ["setpriv", *locked, *command])


if __name__ == "__main__":
    main()
