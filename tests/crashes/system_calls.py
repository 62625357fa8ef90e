"""A child stopped at its system calls by ptrace(2), so that it dies inside of SQLite too."""

import ctypes
import os
import platform
import signal
import struct
import sys
import threading

_TRACEME, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E
_TRACESYSGOOD, _EXITKILL = 1, 0x100000
_ENTRY = 1

# The calls that change what is on a disk. Locks are not among them: a dead process has none.
_NUMBERS = {
    "x86_64": {
        1: "write", 18: "pwrite64", 20: "writev", 74: "fsync", 75: "fdatasync", 76: "truncate",
        77: "ftruncate", 82: "rename", 83: "mkdir", 84: "rmdir", 86: "link", 87: "unlink",
        257: "openat", 258: "mkdirat", 263: "unlinkat", 264: "renameat", 265: "linkat",
        285: "fallocate", 316: "renameat2",
    },
    "aarch64": {
        34: "mkdirat", 35: "unlinkat", 37: "linkat", 38: "renameat", 45: "truncate", 46: "ftruncate",
        47: "fallocate", 56: "openat", 64: "write", 66: "writev", 68: "pwrite64", 82: "fsync",
        83: "fdatasync", 276: "renameat2",
    },
}  # fmt: skip
_OURS = _NUMBERS.get(platform.machine(), {})


def can_trace() -> bool:
    """Return whether this machine lets a process trace its child."""
    if sys.platform != "linux" or not _OURS:
        return False
    pid = os.fork()
    if not pid:
        os._exit(0 if _ptrace(_TRACEME) == 0 else 1)
    return os.waitpid(pid, 0)[1] == 0


def let_parent_trace() -> None:
    """Be traced from here on; the parent calls `trace`."""
    _ptrace(_TRACEME)
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # this thread, if there are more


def trace(pid: int, last: int) -> tuple[int, list[str]]:
    """Let the child run up to its system call number `last` that counts, and kill it before that.

    Returns its exit code, and the names of the calls that it got to make.
    """
    _, status = os.waitpid(pid, 0)
    if os.WIFSTOPPED(status):
        _ptrace(_SETOPTIONS, pid, 0, _TRACESYSGOOD | _EXITKILL)
    names: list[str] = []
    forward = 0
    while os.WIFSTOPPED(status):
        _ptrace(_SYSCALL, pid, 0, forward)
        _, status = os.waitpid(pid, 0)
        forward = 0
        if os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGTRAP | 0x80:
            name = _entered(pid)
            if name and len(names) + 1 == last:
                os.kill(pid, signal.SIGKILL)
            elif name:
                names.append(name)
        elif os.WIFSTOPPED(status):
            forward = os.WSTOPSIG(status)
    return os.waitstatus_to_exitcode(status), names


def _entered(pid: int) -> str:
    """Return the name of the call that the stopped child is about to make, if it is one that counts."""
    _ptrace(_GET_SYSCALL_INFO, pid, len(_info), ctypes.addressof(_info))
    # struct ptrace_syscall_info of linux/ptrace.h: op, arch, ip, sp; then number and arguments.
    op, number, _, _, flags = struct.unpack_from("=B23xQQQQ", _info)
    name = _OURS.get(number, "") if op == _ENTRY else ""
    return "" if name == "openat" and not flags & os.O_CREAT else name


def _ptrace(request: int, pid: int = 0, address: int = 0, data: int = 0) -> int:
    return _libc.ptrace(request, pid, address, data)


_libc = ctypes.CDLL(None, use_errno=True)
if hasattr(_libc, "ptrace"):
    _libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    _libc.ptrace.restype = ctypes.c_long
_info = ctypes.create_string_buffer(128)
