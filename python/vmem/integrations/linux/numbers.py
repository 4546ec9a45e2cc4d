"""Numbers of x86-64 Linux. Sources: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi (Linux 6.12)."""

from __future__ import annotations

CALLS = {
    "read": 0,
    "write": 1,
    "close": 3,
    "fstat": 5,
    "lseek": 8,
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "ioctl": 16,
    "readv": 19,
    "writev": 20,
    "access": 21,
    "sched_yield": 24,
    "mremap": 25,
    "madvise": 28,
    "nanosleep": 35,
    "getpid": 39,
    "exit": 60,
    "kill": 62,
    "uname": 63,
    "fcntl": 72,
    "readlink": 89,
    "gettimeofday": 96,
    "getuid": 102,
    "getgid": 104,
    "geteuid": 107,
    "getegid": 108,
    "sigaltstack": 131,
    "arch_prctl": 158,
    "gettid": 186,
    "tkill": 200,
    "time": 201,
    "futex": 202,
    "sched_getaffinity": 204,
    "set_tid_address": 218,
    "clock_gettime": 228,
    "clock_getres": 229,
    "clock_nanosleep": 230,
    "exit_group": 231,
    "tgkill": 234,
    "openat": 257,
    "newfstatat": 262,
    "readlinkat": 267,
    "set_robust_list": 273,
    "prlimit64": 302,
    "getrandom": 318,
    "rseq": 334,
}

ENOENT, EBADF, EAGAIN, ENOMEM, EFAULT, EINVAL = 2, 9, 11, 12, 14, 22
ENOTTY, ESPIPE, ENOSYS, EEXIST, EPERM, ESRCH, ETIMEDOUT = 25, 29, 38, 17, 1, 3, 110

SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGKILL, SIGSEGV = 4, 5, 7, 8, 9, 11
SIGNALS = {4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV"}
SIGNALS |= {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    10: "SIGUSR1",
    12: "SIGUSR2",
    13: "SIGPIPE",
    15: "SIGTERM",
}
