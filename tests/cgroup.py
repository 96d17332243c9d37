"""A control group of its own for a server under measurement: CPU time and memory of all its
processes, kernel memory of sockets included. Version 1 or 2, whichever this machine has."""

import os
import pathlib
import time

V1 = pathlib.Path("/sys/fs/cgroup")


class Cgroup:
    count = 0

    def __init__(self):
        Cgroup.count += 1
        name = f"postern-measure-{os.getpid()}-{Cgroup.count}"
        self.is_v1 = (V1 / "cpuacct").is_dir()
        roots = [V1 / "cpuacct", V1 / "memory"] if self.is_v1 else [V1]
        self.folders = [root / name for root in roots]
        for folder in self.folders:
            folder.mkdir()

    def join(self):
        """For preexec_fn: the new process and all that it starts belong to the group."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def pids(self):
        return [int(pid) for pid in (self.folders[0] / "cgroup.procs").read_text().split()]

    def cpu_seconds(self):
        if self.is_v1:
            return int((self.folders[0] / "cpuacct.usage").read_text()) / 1e9
        lines = (self.folders[0] / "cpu.stat").read_text().splitlines()
        return int(dict(line.split() for line in lines)["usage_usec"]) / 1e6

    def memory_bytes(self):
        """Anonymous and kernel memory; the page cache of files is not counted."""
        if self.is_v1:
            stat = dict(line.split() for line in
                        (self.folders[1] / "memory.stat").read_text().splitlines())
            kernel = int((self.folders[1] / "memory.kmem.usage_in_bytes").read_text())
            tcp = int((self.folders[1] / "memory.kmem.tcp.usage_in_bytes").read_text())
            return int(stat["rss"]) + kernel + tcp
        stat = dict(line.split() for line in
                    (self.folders[0] / "memory.stat").read_text().splitlines())
        return int(stat["anon"]) + int(stat["kernel"]) + int(stat.get("sock", 0))

    def close(self):
        """Removes the group as soon as its last process has gone."""
        for folder in self.folders:
            for _ in range(200):
                try:
                    folder.rmdir()
                    break
                except OSError:
                    time.sleep(0.02)
