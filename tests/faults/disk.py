"""A disk that fails when told to, under a server in a process of its own.

`FailingDisk` puts a small library before libc (LD_PRELOAD): while the file `full` is there, writes to the store
fail with ENOSPC, while `sync` is there, fsync fails with EIO. `limit_files` needs no compiler: the kernel refuses
to let files grow.
"""

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.programs import require_program

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(int fd, const char *fault) {
    char link[64], path[4096], flag[4096];
    const char *folder = getenv("FAILING_DISK");
    if (!folder) return 0;
    snprintf(flag, sizeof flag, "%s/%s", folder, fault);
    if (access(flag, F_OK)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "/chat.db") != NULL && strstr(path, ".lock") == NULL;
}

#define REAL(type, name, ...) ((type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))
#define REFUSE(fd, fault, code) do { if (fails(fd, fault)) { errno = code; return -1; } } while (0)

ssize_t write(int fd, const void *data, size_t size) {
    REFUSE(fd, "full", ENOSPC);
    return REAL(ssize_t, "write", int, const void *, size_t)(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REFUSE(fd, "full", ENOSPC);
    return REAL(ssize_t, "pwrite", int, const void *, size_t, off_t)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REFUSE(fd, "full", ENOSPC);
    return REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t)(fd, data, size, at);
}
int fsync(int fd) {
    REFUSE(fd, "sync", EIO);
    return REAL(int, "fsync", int)(fd);
}
int fdatasync(int fd) {
    REFUSE(fd, "sync", EIO);
    return REAL(int, "fdatasync", int)(fd);
}
"""


class FailingDisk:
    """The library and the folder with its switches. Skips the test, or under CI fails it, without a C compiler."""

    def __init__(self, folder: Path) -> None:
        compiler = require_program("cc", "gcc", "clang")
        self._switches = folder / "disk"
        self._switches.mkdir()
        library = self._switches / "failing.so"
        command = [compiler, "-shared", "-fPIC", "-o", str(library), "-x", "c", "-", "-ldl"]
        subprocess.run(command, input=SOURCE, text=True, check=True, timeout=60)
        self.env = {"LD_PRELOAD": str(library), "FAILING_DISK": str(self._switches)}

    @contextmanager
    def failing(self, fault: str) -> Iterator[None]:
        """Let the disk fail within the block: `full` or `sync`."""
        switch = self._switches / fault
        switch.touch()
        try:
            yield
        finally:
            switch.unlink()


@contextmanager
def limit_files(pid: int) -> Iterator[None]:
    """Let no file of a process be written beyond its first byte within the block."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
