"""Inside the new namespaces: close every door, then become the command.

Run as ``python walls.py PLAN COMMAND…`` by :mod:`mmgen.classroom.sandbox`, through
``unshare``; PLAN is JSON with ``folder``, ``megabytes`` and ``hide``. Stands alone, so
that it starts in milliseconds.
"""

import fcntl
import json
import os
import re
import socket
import struct
import subprocess
import sys


def loopback_up() -> None:
    """Jupyter talks to its kernel over the loopback, which a new namespace has down."""
    set_flags, up, running = 0x8914, 0x1, 0x40  # SIOCSIFFLAGS, IFF_UP, IFF_RUNNING
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh", b"lo", up | running)
        fcntl.ioctl(any_socket, set_flags, request)


def mount(*arguments: str | bytes) -> bool:
    """Whether ``mount`` did what it was asked to do."""
    return subprocess.run(["mount", *arguments], capture_output=True).returncode == 0


def read_only_but(folder: str, megabytes: int, hide: list[str]) -> None:
    """Make every file system read-only but ``folder``, which becomes one in memory.

    Args:
        folder: existing folder; what it holds outside is not seen inside.
        megabytes: size of it, and of the shared memory.
        hide: folders that are to look empty.
    """
    mount("--make-rprivate", "/")
    size = f"size={megabytes}m"
    mount("-t", "tmpfs", "-o", size, "tmpfs", "/dev/shm")  # its own, ends with it
    for path in hide:
        if not mount("-t", "tmpfs", "-o", "size=4k", "tmpfs", os.fsencode(path)):
            sys.exit(f"walls: cannot hide {path!r}")
    if not mount("-t", "tmpfs", "-o", size, "tmpfs", os.fsencode(folder)):
        sys.exit(f"walls: cannot make {folder!r} a folder of its own")
    writable = {os.fsencode(folder), b"/dev/shm"}
    with open("/proc/self/mounts", "rb") as table:
        lines = table.read().splitlines()
    keep = (b"nosuid", b"nodev", b"noexec", b"noatime", b"nodiratime", b"relatime")
    for line in lines:
        _, point, kind, flags = line.split()[:4]
        point = re.sub(rb"\\(\d{3})", lambda octal: bytes([int(octal[1], 8)]), point)
        if point in writable or kind in (b"devpts", b"mqueue", b"devtmpfs"):
            continue
        if kind == b"tmpfs" and point.startswith(b"/dev"):
            continue  # where /dev/null is
        # Flags that the outer namespace has set are locked: they must be named again.
        held = b"".join(b"," + flag for flag in flags.split(b",") if flag in keep)
        if not mount(b"-o", b"remount,bind,ro" + held, point) and can_write(point):
            sys.exit(f"walls: cannot make {os.fsdecode(point)!r} read-only")
    # Only what runs in here is to be seen; read-only, for its switches are everybody's.
    mount("-t", "proc", "-o", "ro,nosuid,nodev,noexec", "proc", "/proc")


def can_write(point: bytes) -> bool:
    """Whether a mounted file system lets anything be written."""
    try:
        return not os.statvfs(point).f_flag & os.ST_RDONLY
    except OSError:  # not to be reached at all
        return False


def main() -> None:
    plan = json.loads(sys.argv[1])
    loopback_up()
    read_only_but(plan["folder"], plan["megabytes"], plan["hide"])
    os.chdir(plan["folder"])
    # Without capabilities nothing inside can undo what was just done.
    locked = ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    os.execvp("setpriv", ["setpriv", *locked, *sys.argv[2:]])


if __name__ == "__main__":
    main()
