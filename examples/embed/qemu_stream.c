/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A live program in a simulated virtual machine: a QEMU user-mode plugin that hands every fetch, load, store and
 * mapping call of the program that runs to a process of a vmem guest, through the C interface, and prints the VM's
 * counters at the end. Nothing is recorded.
 *
 *   cc -shared -fPIC -DPLUGIN_API=1 qemu_stream.c -o qemu_stream.so $(python -m vmem --cflags --libs)
 *   qemu-x86_64 -plugin ./qemu_stream.so,mode=0,mib=256 ls        (mode: VMEM_MODE_...; out=FILE rather than stderr)
 *
 * PLUGIN_API is the version of the plugin interface that this QEMU accepts; it says so if it is another. This file is
 * loaded into QEMU and therefore carries QEMU's licence.
 *
 * What was mapped before the first instruction, the program and its stack, the plugin learns when it is touched: it
 * maps such a page then. Threads are one stream.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmem/host.h>

/* --- what is used of QEMU's interface: distributions ship no header --- */

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef struct {
  const char* target_name; /* more members follow; none is used */
} qemu_info_t;
enum { CB_NO_REGS = 0, MEM_RW = 3 };
typedef void (*syscall_cb)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                           uint64_t, uint64_t, uint64_t);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb*));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn*, void (*)(unsigned, void*), int, void*);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn*,
                                      void (*)(unsigned, qemu_plugin_meminfo_t, uint64_t, void*), int, int, void*);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, syscall_cb);
void qemu_plugin_register_vcpu_syscall_ret_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, unsigned, int64_t, int64_t));
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void*), void*);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb*);
struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb*, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn*);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t);

#ifndef PLUGIN_API
#define PLUGIN_API 1
#endif
VMEM_API int qemu_plugin_version = PLUGIN_API;

/* --- the virtual machine --- */

enum { PAGE = 4096, BATCH = 1 << 15, KNOWN = 1 << 12 };

static vmem_host* host;
static uint32_t vm, process;
static uint64_t addresses[BATCH];
static uint8_t kinds[BATCH];
static uint64_t waiting; /* of them not made yet */
static vmem_summary total;
static uint64_t known[KNOWN]; /* pages that are mapped, by their low bits; page 0 never is */
static const char* report;

static void must(vmem_status status, const char* what) {
  if (status >= 0) return;
  fprintf(stderr, "qemu_stream: %s: %s\n", what, vmem_last_error());
  exit(1);
}

static void make_references(void) {
  vmem_summary part;
  VMEM_INIT(part);
  must(vmem_process_access_batch(host, vm, 0, process, addresses, kinds, waiting, &part), "access");
  total.done += part.done;
  total.segfaults += part.segfaults;
  waiting = 0;
}

static void map_range(uint64_t start, uint64_t end, uint32_t protection) {
  vmem_map_request request;
  VMEM_INIT(request);
  request.length = end - start;
  request.protection = protection;
  request.address = start;
  request.fixed = 1;
  must(vmem_process_mmap(host, vm, 0, process, &request, &start), "mmap");
}

/* Maps what of the range is not mapped yet. */
static void fill_gaps(uint64_t start, uint64_t end, uint32_t protection) {
  vmem_area area;
  VMEM_INIT(area);
  while (start < end) {
    must(vmem_process_area(host, vm, process, start, &area), "area");
    const uint64_t next = area.end != 0 && area.start < end ? area.start : end;
    if (next > start) map_range(start, next, protection);
    start = area.end != 0 && area.start < end ? area.end : end;
  }
}

static void unmap(uint64_t start, uint64_t end) {
  must(vmem_process_munmap(host, vm, 0, process, start, end - start), "munmap");
  memset(known, 0, sizeof known);
}

static void refer(uint64_t address, uint8_t kind) {
  const uint64_t page = address / PAGE;
  if (known[page % KNOWN] != page) {
    fill_gaps(page * PAGE, (page + 1) * PAGE, VMEM_READ | VMEM_WRITE | VMEM_EXECUTE);
    known[page % KNOWN] = page;
  }
  addresses[waiting] = address;
  kinds[waiting] = kind;
  if (++waiting == BATCH) make_references();
}

/* --- what the program does --- */

static void on_fetch(unsigned vcpu, void* address) {
  (void)vcpu;
  refer((uint64_t)(uintptr_t)address, VMEM_FETCH);
}

static void on_memory(unsigned vcpu, qemu_plugin_meminfo_t info, uint64_t address, void* unused) {
  (void)vcpu, (void)unused;
  refer(address, qemu_plugin_mem_is_store(info) ? VMEM_STORE : VMEM_LOAD);
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb* tb) {
  (void)id;
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); ++i) {
    struct qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(tb, i);
    qemu_plugin_register_vcpu_insn_exec_cb(insn, on_fetch, CB_NO_REGS, (void*)(uintptr_t)qemu_plugin_insn_vaddr(insn));
    qemu_plugin_register_vcpu_mem_cb(insn, on_memory, CB_NO_REGS, MEM_RW, NULL);
  }
}

/* Numbers of the Linux system calls (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h). */
static const struct target {
  const char* name;
  int64_t mmap, munmap, mprotect, brk, mremap;
} targets[] = {{"x86_64", 9, 11, 10, 12, 25}, {"aarch64", 222, 215, 226, 214, 216}};
static const struct target* target;
static uint64_t arguments[3], heap_start, heap_end;

static uint64_t page_up(uint64_t value) { return (value + PAGE - 1) / PAGE * PAGE; }

static void replace(uint64_t start, uint64_t end, uint32_t protection) {
  unmap(start, end);
  map_range(start, end, protection);
}

static void on_brk(uint64_t now) {
  const uint64_t end = page_up(now);
  if (heap_start == 0) heap_start = heap_end = end;
  if (end > heap_end) replace(heap_end, end, VMEM_READ | VMEM_WRITE);
  if (end < heap_end && end >= heap_start) unmap(end, heap_end);
  if (end >= heap_start) heap_end = end;
}

static void on_syscall(qemu_plugin_id_t id, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                       uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
  (void)id, (void)vcpu, (void)number, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
  arguments[0] = a1;
  arguments[1] = page_up(a2);
  arguments[2] = a3;
}

static void on_syscall_return(qemu_plugin_id_t id, unsigned vcpu, int64_t number, int64_t result) {
  (void)id, (void)vcpu;
  const uint64_t start = arguments[0], length = arguments[1], got = (uint64_t)result;
  if (result < 0 && result > -PAGE) return; /* it failed */
  make_references();                        /* they came before it */
  if (number == target->mmap) {
    replace(got, got + length, arguments[2] & 7);
  } else if (number == target->munmap) {
    unmap(start, start + length);
  } else if (number == target->mprotect) {
    fill_gaps(start, start + length, arguments[2] & 7);
    must(vmem_process_mprotect(host, vm, 0, process, start, length, arguments[2] & 7), "mprotect");
  } else if (number == target->brk) {
    on_brk(got);
  } else if (number == target->mremap) {
    unmap(start, start + length);
    replace(got, got + page_up(arguments[2]), VMEM_READ | VMEM_WRITE);
  }
}

static void on_exit_program(qemu_plugin_id_t id, void* unused) {
  (void)id, (void)unused;
  make_references();
  FILE* out = report != NULL ? fopen(report, "w") : stderr;
  if (out == NULL) out = stderr;
  fprintf(out, "references %" PRIu64 "\nsegfaults %" PRIu64 "\n", total.done, total.segfaults);
  for (uint32_t i = 0; vmem_counter_name(i) != NULL; ++i) {
    uint64_t value = 0;
    must(vmem_vm_counter(host, vm, vmem_counter_name(i), &value), "counter");
    fprintf(out, "%s %" PRIu64 "\n", vmem_counter_name(i), value);
  }
  if (out != stderr) fclose(out);
  vmem_host_destroy(host);
}

VMEM_API int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc, char** argv) {
  vmem_host_config config;
  vmem_vm_config vm_config;
  VMEM_INIT(config);
  VMEM_INIT(vm_config);
  vm_config.memory = 256ull << 20;
  for (int i = 0; i < argc; ++i) {
    if (strncmp(argv[i], "mode=", 5) == 0) vm_config.mode = (uint32_t)strtoul(argv[i] + 5, NULL, 10);
    if (strncmp(argv[i], "mib=", 4) == 0) vm_config.memory = strtoull(argv[i] + 4, NULL, 10) << 20;
    if (strncmp(argv[i], "out=", 4) == 0) report = argv[i] + 4;
  }
  config.memory = 2 * vm_config.memory; /* its tables need some, too */
  for (size_t i = 0; i < sizeof targets / sizeof targets[0]; ++i)
    if (strcmp(info->target_name, targets[i].name) == 0) target = &targets[i];
  if (target == NULL) {
    fprintf(stderr, "qemu_stream: programs for %s; accepted are x86_64 and aarch64\n", info->target_name);
    return -1;
  }
  if (vmem_host_create(&config, &host) < 0 || vmem_vm_create(host, &vm_config, &vm) < 0 ||
      vmem_process_spawn(host, vm, "program", &process) < 0) {
    fprintf(stderr, "qemu_stream: %s\n", vmem_last_error());
    return -1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
  qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
  qemu_plugin_register_vcpu_syscall_ret_cb(id, on_syscall_return);
  qemu_plugin_register_atexit_cb(id, on_exit_program, NULL);
  return 0;
}
