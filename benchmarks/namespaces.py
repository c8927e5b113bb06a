"""Hosts on one machine: network namespaces, joined by virtual cables and a switch, with names of their own.

    namespace  NAME-switch   10.77.0.254   mpiexec runs here
               |        |
             cable    cable                each may be slowed down (tc) or pulled (ip link set ... down)
               |        |
         NAME-1          NAME-2            10.77.0.1 host1, 10.77.0.2 host2: the ranks

Nothing of it is seen from outside, and all of it is gone with `close`. It needs root, iproute2 and util-linux.
"""
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minitorch_alex.comm import own_mpiexec

ROOT = Path(__file__).parent.parent

# Without these UCX finds out that all hosts are one machine, uses its memory, and the wire stays silent.
VARIABLES = {"UCX_TLS": "tcp,self", "UCX_NET_DEVICES": "wire"}
# What mpiexec starts in the place of ssh: flags of ssh are dropped, and 10.77.0.N names the namespace.
LAUNCHER = """#!/bin/bash
while [[ $1 == -* ]]; do shift; done
host=${1##*.}
shift
exec ip netns exec NAME-$host unshare -u bash -c 'hostname host'$host'; exec '"$*"
"""


def why_not() -> str:
    """Why this machine cannot have hosts; "" where it can."""
    if not sys.platform.startswith("linux") or os.geteuid():
        return "network namespaces need Linux and root"
    missing = [name for name in ("ip", "tc", "unshare", "hostname") if shutil.which(name) is None]
    if missing:
        return f"there is no {missing[0]}"
    name = f"mt{os.getpid()}-try"
    for command in (f"ip netns add {name}", f"ip -n {name} link add c1 type veth peer name c2",
                    f"ip -n {name} link add br0 type bridge", f"ip netns exec {name} unshare -u true",
                    f"tc -n {name} qdisc replace dev c1 root tbf rate 1gbit burst 128k latency 50ms"):
        done = subprocess.run(command.split(), capture_output=True, text=True)
        if done.returncode:
            break
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return f"{command}: {done.stderr.strip()}" if done.returncode else ""


class Hosts:
    """`count` hosts. The launcher lies in `folder`."""

    def __init__(self, count: int, folder: Path) -> None:
        self.name = f"mt{os.getpid()}"
        self.count = count
        self.launcher = folder / "launcher.sh"
        self.launcher.write_text(LAUNCHER.replace("NAME", self.name))
        self.launcher.chmod(0o755)
        self.switch = f"{self.name}-switch"
        self._ip("netns add", self.switch)
        self._ip(f"-n {self.switch} link add br0 type bridge")
        self._ip(f"-n {self.switch} addr add 10.77.0.254/24 dev br0")
        for link in ("lo", "br0"):
            self._ip(f"-n {self.switch} link set {link} up")
        for n in range(1, count + 1):
            self._ip("netns add", f"{self.name}-{n}")
            self._ip(f"-n {self.switch} link add cable{n} type veth peer name wire netns {self.name}-{n}")
            self._ip(f"-n {self.switch} link set cable{n} master br0 up")
            self._ip(f"-n {self.name}-{n} addr add 10.77.0.{n}/24 dev wire")
            for link in ("lo", "wire"):
                self._ip(f"-n {self.name}-{n} link set {link} up")

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *" ".join(words).split()], check=True, capture_output=True)

    def slow_down(self, mbit: float) -> None:
        """Let every cable carry so many Mbit/s, in both directions."""
        for n in range(1, self.count + 1):
            for space, link in ((self.switch, f"cable{n}"), (f"{self.name}-{n}", "wire")):
                rule = f"tc -n {space} qdisc replace dev {link} root tbf rate {mbit}mbit burst 128k latency 50ms"
                subprocess.run(rule.split(), check=True, capture_output=True)

    def pull_cable(self, n: int) -> None:
        """Nothing arrives at host n any more, and nothing comes from it."""
        self._ip(f"-n {self.switch} link set cable{n} down")

    def bytes_received(self, n: int) -> int:
        """What has come through the cable of host n."""
        file = "/sys/class/net/wire/statistics/rx_bytes"
        done = subprocess.run(["ip", "netns", "exec", f"{self.name}-{n}", "cat", file], check=True, text=True,
                              capture_output=True)
        return int(done.stdout)

    def command(self, ranks: int, words: Sequence[Any], per_host: int = 1) -> list[str]:
        """mpiexec of `ranks` processes `python *words`, so many on each host."""
        mpiexec = own_mpiexec()
        assert mpiexec is not None
        hosts = ",".join(f"10.77.0.{n}" for n in range(1, self.count + 1))
        return ["ip", "netns", "exec", self.switch, mpiexec, "-launcher", "ssh", "-launcher-exec", str(self.launcher),
                "-localhost", "10.77.0.254", "-hosts", hosts, "-ppn", str(per_host), "-n", str(ranks),
                sys.executable, *map(str, words)]

    def pids_of(self, word: str, host: int = 0) -> list[int]:
        """The processes with this word in their command on a host; on all of them where it is 0."""
        pids = []
        for n in [host] if host else range(1, self.count + 1):
            done = subprocess.run(["ip", "netns", "pids", f"{self.name}-{n}"], text=True, capture_output=True)
            pids += [int(line) for line in done.stdout.split()]
        return [pid for pid in pids if word in _words(pid)]

    def close(self) -> None:
        for space in (self.switch, *(f"{self.name}-{n}" for n in range(1, self.count + 1))):
            subprocess.run(["ip", "netns", "del", space], capture_output=True)


def _words(pid: int) -> list[str]:
    """The command of a process, of a rank and not of what has started it; none of one that has ended."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []
    return words if "python" in Path(words[0]).name else []
