/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * recorder.c: a QEMU user-mode TCG plugin that writes every fetch, load, store and mapping call of a program to a pipe.
 *
 * Copyright (C) 2026 The vmem developers
 *
 * This one file is loaded into QEMU and therefore carries QEMU's licence; the rest of vmem does not include or link it.
 * It is free software: you can redistribute it and/or modify it under the terms of the GNU General Public License as
 * published by the Free Software Foundation, either version 2 of the License, or (at your option) any later version. It
 * comes WITHOUT ANY WARRANTY.
 *
 * The stream is 64-bit little-endian words. Bits 63:62 say what a word is:
 *   0 load, 1 store, 2 fetch    bits 61:0 are the address of the first byte (user addresses are below 2^61)
 *   3 event                     bits 7:0 are the kind (enum event); then start, length, and prot | name_bytes << 8, and
 * the name in ceil(name_bytes / 8) words. The last event is EVENT_END; its start is the number of words before it.
 *
 * Built by `vmem trace record` on first use: cc -O2 -shared -fPIC -DVMEM_PLUGIN_API=N recorder.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Distributions ship no header for plugins, so what is used of the interface is declared here. */
typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef struct {
  const char* target_name; /* more members follow; none is used */
} qemu_info_t;
enum { CB_NO_REGS = 0, MEM_RW = 3 };

typedef void (*tb_trans_cb)(qemu_plugin_id_t, struct qemu_plugin_tb*);
typedef void (*udata_cb)(qemu_plugin_id_t, void*);
typedef void (*vcpu_udata_cb)(unsigned, void*);
typedef void (*vcpu_mem_cb)(unsigned, qemu_plugin_meminfo_t, uint64_t, void*);
typedef void (*vcpu_syscall_cb)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                uint64_t, uint64_t, uint64_t);
typedef void (*vcpu_syscall_ret_cb)(qemu_plugin_id_t, unsigned, int64_t, int64_t);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, tb_trans_cb);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn*, vcpu_udata_cb, int, void*);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn*, vcpu_mem_cb, int, int, void*);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, vcpu_syscall_cb);
void qemu_plugin_register_vcpu_syscall_ret_cb(qemu_plugin_id_t, vcpu_syscall_ret_cb);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, udata_cb, void*);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb*);
struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb*, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn*);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t);

#ifndef VMEM_PLUGIN_API
#define VMEM_PLUGIN_API 1
#endif
__attribute__((visibility("default"))) int qemu_plugin_version = VMEM_PLUGIN_API;

/* The stream.
 * -------------------------------------------------------------------------------------------------------------------
 */

enum word { WORD_LOAD = 0, WORD_STORE = 1, WORD_FETCH = 2, WORD_EVENT = 3 };
enum event { EVENT_MMAP = 0, EVENT_MUNMAP = 1, EVENT_MPROTECT = 2, EVENT_BRK = 3, EVENT_END = 4 };
#define WORD(kind, value) ((uint64_t)(kind) << 62 | ((value) & ((1ull << 62) - 1)))

enum { BUFFER_WORDS = 1 << 16, NAME_BYTES = 255 };
static uint64_t buffer[BUFFER_WORDS];
static size_t used;
static uint64_t words_sent;
static int out = -1;
static pid_t owner;

/* Only a program with threads pays for the lock: it is first needed after the first clone() with CLONE_VM, which its
 * only thread makes. */
static bool threaded;
static atomic_flag busy = ATOMIC_FLAG_INIT;

static void lock(void) {
  if (!threaded) return;
  while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire)) {
  }
}

static void unlock(void) {
  if (threaded) atomic_flag_clear_explicit(&busy, memory_order_release);
}

static void flush(void) {
  const char* next = (const char*)buffer;
  size_t left = used * sizeof buffer[0];
  words_sent += used;
  used = 0;
  /* A forked child inherits the buffer and the pipe; only the program that was started is recorded. */
  if (out < 0 || getpid() != owner) return;
  while (left > 0) {
    const ssize_t wrote = write(out, next, left);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) {
      out = -1; /* the reader is gone, or the program closed our descriptor: the missing EVENT_END tells it */
      return;
    }
    next += wrote;
    left -= (size_t)wrote;
  }
}

static inline void put(uint64_t word) {
  if (used == BUFFER_WORDS) flush();
  buffer[used++] = word;
}

static void put_event(enum event kind, uint64_t start, uint64_t length, unsigned prot, const char* name) {
  uint64_t text[(NAME_BYTES + 7) / 8 + 1] = {0};
  const size_t bytes = strnlen(name, NAME_BYTES);
  memcpy(text, name, bytes);
  put(WORD(WORD_EVENT, kind));
  put(start);
  put(length);
  put((prot & 0xff) | (uint64_t)bytes << 8);
  for (size_t i = 0; i < (bytes + 7) / 8; ++i) put(text[i]);
}

/* References.
 * -------------------------------------------------------------------------------------------------------------------
 */

static void on_fetch(unsigned vcpu, void* address) {
  (void)vcpu;
  lock();
  put(WORD(WORD_FETCH, (uint64_t)(uintptr_t)address));
  unlock();
}

static void on_memory(unsigned vcpu, qemu_plugin_meminfo_t info, uint64_t address, void* unused) {
  (void)vcpu, (void)unused;
  lock();
  put(WORD(qemu_plugin_mem_is_store(info) ? WORD_STORE : WORD_LOAD, address));
  unlock();
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb* tb) {
  (void)id;
  const size_t count = qemu_plugin_tb_n_insns(tb);
  for (size_t i = 0; i < count; ++i) {
    struct qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(tb, i);
    qemu_plugin_register_vcpu_insn_exec_cb(insn, on_fetch, CB_NO_REGS, (void*)(uintptr_t)qemu_plugin_insn_vaddr(insn));
    qemu_plugin_register_vcpu_mem_cb(insn, on_memory, CB_NO_REGS, MEM_RW, NULL);
  }
}

/* Mapping calls.
 * ---------------------------------------------------------------------------------------------------------------- */

struct calls {
  const char* target;
  int64_t mmap, munmap, mprotect, brk, mremap, clone, clone3, execve, exit_group;
};
/* Numbers of the Linux system calls (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h). */
static const struct calls known_targets[] = {
    {"x86_64", 9, 11, 10, 12, 25, 56, 435, 59, 231},
    {"aarch64", 222, 215, 226, 214, 216, 220, 435, 221, 94},
};
static const struct calls* calls;

enum { PAGE = 4096, MAP_ANON = 0x20, CLONE_SHARE_MEMORY = 0x100, RW = 3, MAX_VCPUS = 4096 };
/* The return callback of a system call has no arguments, so the entry keeps them. */
static uint64_t pending[MAX_VCPUS][5];
static uint64_t heap_start, heap_end;

static uint64_t page_down(uint64_t value) { return value & ~(uint64_t)(PAGE - 1); }
static uint64_t page_up(uint64_t value) { return page_down(value + PAGE - 1); }

/* The last part of the path behind a file descriptor, or "" when it has none. */
static const char* file_name(int descriptor, char path[NAME_BYTES + 1]) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t bytes = readlink(link, path, NAME_BYTES);
  if (bytes <= 0) return "";
  path[bytes] = '\0';
  const char* slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static void on_brk(uint64_t now) {
  if (heap_start == 0) heap_start = heap_end = page_up(now);
  if (page_up(now) == heap_end || page_up(now) < heap_start) return;
  heap_end = page_up(now);
  put_event(EVENT_BRK, heap_start, heap_end - heap_start, RW, "[heap]");
}

static void on_mremap(uint64_t from, uint64_t old_length, uint64_t new_length, uint64_t to) {
  if (from != to) {
    put_event(EVENT_MUNMAP, from, old_length, 0, "");
    put_event(EVENT_MMAP, to, new_length, RW, "");
  } else if (new_length < old_length) {
    put_event(EVENT_MUNMAP, from + new_length, old_length - new_length, 0, "");
  } else if (new_length > old_length) {
    put_event(EVENT_MMAP, from + old_length, new_length - old_length, RW, "");
  }
}

static void on_syscall(qemu_plugin_id_t id, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                       uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
  (void)id, (void)a6, (void)a7, (void)a8;
  if (vcpu < MAX_VCPUS) {
    const uint64_t arguments[5] = {a1, a2, a3, a4, a5};
    memcpy(pending[vcpu], arguments, sizeof arguments);
  }
  if (number == calls->clone3 || (number == calls->clone && (a1 & CLONE_SHARE_MEMORY))) threaded = true;
  if (number == calls->execve ||
      number == calls->exit_group) { /* a successful execve ends the plugin with no further callback */
    lock();
    flush();
    unlock();
  }
}

static void on_syscall_return(qemu_plugin_id_t id, unsigned vcpu, int64_t number, int64_t result) {
  (void)id;
  if (vcpu >= MAX_VCPUS || (result < 0 && result > -PAGE)) return;
  const uint64_t* a = pending[vcpu];
  lock();
  if (number == calls->mmap) {
    char path[NAME_BYTES + 1];
    const bool file = !(a[3] & MAP_ANON);
    put_event(EVENT_MMAP, (uint64_t)result, page_up(a[1]), (unsigned)a[2], file ? file_name((int)a[4], path) : "");
  } else if (number == calls->munmap) {
    put_event(EVENT_MUNMAP, a[0], page_up(a[1]), 0, "");
  } else if (number == calls->mprotect) {
    put_event(EVENT_MPROTECT, a[0], page_up(a[1]), (unsigned)a[2], "");
  } else if (number == calls->brk) {
    on_brk((uint64_t)result);
  } else if (number == calls->mremap) {
    on_mremap(a[0], page_up(a[1]), page_up(a[2]), (uint64_t)result);
  }
  unlock();
}

static void on_exit_program(qemu_plugin_id_t id, void* unused) {
  (void)id, (void)unused;
  lock();
  put_event(EVENT_END, words_sent + used, 0, 0, "");
  flush();
  out = -1;
  unlock();
}

/* Arguments: out=PATH of a FIFO, or of a file that exists. */
__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc,
                                                               char** argv) {
  const char* path = NULL;
  for (int i = 0; i < argc; ++i)
    if (strncmp(argv[i], "out=", 4) == 0) path = argv[i] + 4;
  for (size_t i = 0; i < sizeof known_targets / sizeof known_targets[0]; ++i)
    if (strcmp(info->target_name, known_targets[i].target) == 0) calls = &known_targets[i];
  if (!path || !calls) {
    fprintf(stderr, "vmem recorder: %s\n", path ? "accepts the targets x86_64 and aarch64 only" : "needs out=PATH");
    return -1;
  }
  const int opened = open(path, O_WRONLY | O_CLOEXEC);
  if (opened < 0) {
    fprintf(stderr, "vmem recorder: cannot open %s: %s\n", path, strerror(errno));
    return -1;
  }
  /* The program shares our descriptor table: take a number out of its way, so that its own numbers are what they are
   * without us. */
  out = fcntl(opened, F_DUPFD_CLOEXEC, 600);
  if (out < 0) out = opened;
  if (out != opened) close(opened);
  owner = getpid();

  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
  qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
  qemu_plugin_register_vcpu_syscall_ret_cb(id, on_syscall_return);
  qemu_plugin_register_atexit_cb(id, on_exit_program, NULL);
  return 0;
}
