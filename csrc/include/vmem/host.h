/* The whole machine: a host with a hypervisor, virtual machines, their guest kernels and processes. Addresses of
 * processes are guest-virtual. VMs and processes are named by numbers, which a stale use makes VMEM_E_HANDLE.
 *
 * Time is simulated, in nanoseconds since the host was switched on. Calls of processes take the time that they cost;
 * vmem_host_advance lets more of it pass, vmem_host_run (program.h) does so with programs that run meanwhile. Same
 * calls, same results, on every machine.
 */
#ifndef VMEM_HOST_H
#define VMEM_HOST_H

#include <vmem/cpu.h>
#include <vmem/mmu.h>
#include <vmem/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vmem_host vmem_host;

typedef struct vmem_host_config {
  uint32_t size;
  uint32_t esx_admission;           /* not 0: a VM that could not be kept is refused (VMEM_E_MEMORY) */
  uint64_t memory;                  /* bytes, a multiple of 4096. Costs the real machine only what is written */
  uint64_t swap;                    /* bytes of a file for what the host swaps out; 0: none */
  const char* swap_dir;             /* where that file lies, unnamed; NULL: the system's place for temporary files */
  uint64_t swap_read_ns;            /* a vCPU waits so long for a page to come back; 0: 100000 */
  const char* cpu;                  /* processor of VMs that name none; NULL: "skylake-sp" */
  uint64_t khz;                     /* by which cycles become time; 0: 3000000 */
  uint64_t seed;                    /* of the host's choice of victims; 0: 1 */
  const vmem_cpu_config* processor; /* instead of `cpu` */
  uint64_t quantum_ns;              /* for which programs have a physical CPU, 1000 to 1,000,000,000; 0: 3,000,000 */
  uint32_t cpus;                    /* physical ones, which vmem_host_run shares among vCPUs; 0: one for each */
  uint32_t reserved;                /* 0 */
} vmem_host_config;

/* How a VM's addresses are translated. */
enum { VMEM_MODE_NESTED = 0, VMEM_MODE_NATIVE = 1, VMEM_MODE_SHADOW = 2, VMEM_MODE_SOFTWARE_TLB = 3 };

/* The largest page that is used, where memory is aligned and free; smaller ones otherwise. */
enum { VMEM_PAGE_4K = 0, VMEM_PAGE_2M = 1, VMEM_PAGE_1G = 2 };

/* How a shadow table follows the guest's. */
enum { VMEM_SYNC_TRACE = 0, VMEM_SYNC_UNSYNC = 1, VMEM_SYNC_VTLB = 2 };

/* Bits of vmem_vm_config.balloon. The others need VMEM_BALLOON. */
enum {
  VMEM_BALLOON = 1,
  VMEM_BALLOON_MUST_TELL_HOST = 2,
  VMEM_BALLOON_DEFLATE_ON_OOM = 4,
  VMEM_BALLOON_PAGE_POISON = 8,
  VMEM_BALLOON_FREE_PAGE_REPORTING = 16
};

/* How the host gets memory back from a VM; all but NONE have its swap besides. */
enum {
  VMEM_RECLAIM_SWAP = 0,
  VMEM_RECLAIM_NONE = 1,             /* the VM keeps what it once touched */
  VMEM_RECLAIM_BALLOON = 2,          /* sets VMEM_BALLOON */
  VMEM_RECLAIM_REPORTING = 3,        /* free page reporting: sets VMEM_BALLOON and VMEM_BALLOON_FREE_PAGE_REPORTING */
  VMEM_RECLAIM_SCAN = 4,             /* the host reads the guest's free lists now and then */
  VMEM_RECLAIM_HYPERCALL = 5,        /* the guest names each block that it frees */
  VMEM_RECLAIM_HYPERCALL_BATCHED = 6 /* 512 of them at a time */
};

/* What a guest's kernel does with the bytes of pages that it frees. */
enum { VMEM_ON_FREE_KEEP = 0, VMEM_ON_FREE_ZERO = 1, VMEM_ON_FREE_POISON = 2 };

typedef struct vmem_vm_config {
  uint32_t size;
  uint32_t mode;
  const char* name;       /* of events and messages; NULL: "vm" */
  uint64_t memory;        /* bytes, a multiple of 4096 */
  uint32_t vcpus;         /* 1 to 255; 0: 1 */
  uint32_t backing;       /* pages of the hypervisor's table: VMEM_PAGE_... */
  const char* cpu;        /* NULL: the host's */
  uint32_t shadow_sync;   /* shadow mode only, as the next two */
  uint32_t direct_faults; /* not 0: not-present faults that are the guest's reach it without an exit */
  uint64_t shadow_pages;  /* at most; 0: one for every fifty guest frames, at least 64 */
  uint32_t software_tlb;  /* software-TLB mode: entries of the hypervisor's second level; 0: none */
  uint32_t shares;        /* its weight when the host reclaims; 0: 1000 */
  uint64_t reservation;   /* bytes that the host never reclaims */
  uint64_t limit;         /* bytes of machine memory at most; 0: none */
  uint64_t disk;          /* bytes of a virtual disk; 0: none */
  uint64_t swap;          /* bytes of a disk for the guest to swap to; 0: none */
  uint32_t balloon;       /* bits VMEM_BALLOON...; 0: none */
  uint32_t reserved;      /* 0 */
  uint32_t reclaim;       /* VMEM_RECLAIM_... */
  uint32_t on_free;       /* VMEM_ON_FREE_... */
  uint64_t scan_ns;       /* between scans; 0: 10 s */
  uint32_t scan_races;    /* not 0: vCPUs run while a scan looks, and may take what it has seen; 0: they stand still */
  uint32_t reserved_too;  /* 0 */
  const vmem_cpu_config* processor; /* instead of `cpu` */
} vmem_vm_config;

VMEM_API vmem_status vmem_host_create(const vmem_host_config* config, vmem_host** host);

/* With all of its VMs. NULL is accepted; VMEM_E_BUSY from inside its callbacks. */
VMEM_API vmem_status vmem_host_destroy(vmem_host* host);

/* Its clock. */
VMEM_API vmem_status vmem_host_now(vmem_host* host, uint64_t* nanoseconds);

/* Lets time pass: interrupts are delivered, daemons of guests and host run, callbacks are called, each at its time.
 * A callback that fails ends it early, with VMEM_E_CALLBACK. */
VMEM_API vmem_status vmem_host_advance(vmem_host* host, uint64_t nanoseconds);

/* total free used tables processes committed swap_total swap_used shared: bytes; swapped_out swapped_in double_paging
 * merged cow_broken split collapsed swap_write_errors: pages since it was switched on. */
VMEM_API vmem_status vmem_host_counter(vmem_host* host, const char* name, uint64_t* value);

/* Looks once at all guest memory and gives pages with the same bytes one machine frame, copied again when a guest
 * stores to it. `frames` receives how many guest frames gave up theirs; NULL: of no interest. */
VMEM_API vmem_status vmem_host_share(vmem_host* host, uint64_t* frames);

/* A program of the host itself, with `bytes` of machine memory that is not reclaimed, rounded up to pages. What is not
 * free is taken from VMs; VMEM_E_MEMORY if they cannot give so much. */
VMEM_API vmem_status vmem_host_process_create(vmem_host* host, const char* name, uint64_t bytes, uint32_t* process);
/* The same for a new size; refused, it keeps the old one. */
VMEM_API vmem_status vmem_host_process_resize(vmem_host* host, uint32_t process, uint64_t bytes);
VMEM_API vmem_status vmem_host_process_exit(vmem_host* host, uint32_t process);

/* All invariants of host and guests. VMEM_E_INVARIANT: vmem_last_error names the first broken one. */
VMEM_API vmem_status vmem_host_check(vmem_host* host);

/* A new VM with a booted guest kernel. */
VMEM_API vmem_status vmem_vm_create(vmem_host* host, const vmem_vm_config* config, uint32_t* vm);
VMEM_API vmem_status vmem_vm_destroy(vmem_host* host, uint32_t vm);

/* A counter by name: those of vmem_counter_name, summed over the vCPUs, and walk_cycles, cycles; resident and swapped:
 * bytes of it that have a machine frame, or lie in the host's swap. */
VMEM_API vmem_status vmem_vm_counter(vmem_host* host, uint32_t vm, const char* name, uint64_t* value);
/* The same of one vCPU, without the last two. */
VMEM_API vmem_status vmem_vcpu_counter(vmem_host* host, uint32_t vm, uint32_t vcpu, const char* name, uint64_t* value);
/* Its guest kernel's /proc/meminfo, in bytes, and /proc/vmstat, by Linux's names ("MemFree", "pswpin"). */
VMEM_API vmem_status vmem_guest_meminfo(vmem_host* host, uint32_t vm, const char* name, uint64_t* value);
VMEM_API vmem_status vmem_guest_vmstat(vmem_host* host, uint32_t vm, const char* name, uint64_t* value);
/* Drops what the TLBs and paging-structure caches of a vCPU hold. */
VMEM_API vmem_status vmem_vcpu_flush_tlb(vmem_host* host, uint32_t vm, uint32_t vcpu);

/* The balloon, in bytes of RAM that the guest should keep, and that it keeps. Setting asks; the guest follows as time
 * passes. VMEM_E_ARGUMENT if the VM was made without one. */
VMEM_API vmem_status vmem_balloon_set_target(vmem_host* host, uint32_t vm, uint64_t bytes);
VMEM_API vmem_status vmem_balloon_target(vmem_host* host, uint32_t vm, uint64_t* bytes);
VMEM_API vmem_status vmem_balloon_actual(vmem_host* host, uint32_t vm, uint64_t* bytes);

/* What the host does with the page behind a guest-physical address; a native machine's memory stays as it is. `done`
 * receives 1, or 0 if it could not; NULL: of no interest.
 * swap_out: written to the host's swap, its frame freed. It comes back by itself, and costs a vCPU a wait. Not if it
 * has no frame, or the swap is full or absent. split: a large page becomes pages of 4 KiB. Not if it is none. collapse:
 * the aligned 2 MiB around it become one large page. Not if some of it is not resident, shared, or of a large page, or
 * if no such block is free. */
VMEM_API vmem_status vmem_vm_swap_out(vmem_host* host, uint32_t vm, uint64_t gpa, uint32_t* done);
VMEM_API vmem_status vmem_vm_split(vmem_host* host, uint32_t vm, uint64_t gpa, uint32_t* done);
VMEM_API vmem_status vmem_vm_collapse(vmem_host* host, uint32_t vm, uint64_t gpa, uint32_t* done);

/* Bits of a protection; 0: no access. */
enum { VMEM_READ = 1, VMEM_WRITE = 2, VMEM_EXECUTE = 4 };

typedef struct vmem_map_request {
  uint32_t size;
  uint32_t protection; /* VMEM_READ | ... */
  uint64_t length;     /* bytes, rounded up to pages */
  uint64_t address;    /* where, if `fixed`: a free, page-aligned address */
  uint32_t fixed;      /* not 0: at `address`; 0: the kernel chooses */
  uint32_t page;       /* the largest page of the guest's table: VMEM_PAGE_... */
  const char* name;    /* NULL: none */
  uint32_t file;       /* number of a file of the guest; 0: anonymous memory */
  uint32_t shared;     /* not 0: stores reach the file; 0: they go to copies of the process's own */
  uint64_t offset;     /* bytes into the file, a multiple of 4096 */
} vmem_map_request;

/* A process with an empty address space; NULL: its name is "process". `vcpu` below is where a call runs. */
VMEM_API vmem_status vmem_process_spawn(vmem_host* host, uint32_t vm, const char* name, uint32_t* process);
/* A child with a copy-on-write copy of everything. */
VMEM_API vmem_status vmem_process_fork(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process, uint32_t* child);
/* Its memory goes to the guest's free lists, not to the host. */
VMEM_API vmem_status vmem_process_exit(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process);

/* Demand-paged memory. `start` receives its address. */
VMEM_API vmem_status vmem_process_mmap(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process,
                                       const vmem_map_request* request, uint64_t* start);
VMEM_API vmem_status vmem_process_munmap(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process, uint64_t start,
                                         uint64_t length);
VMEM_API vmem_status vmem_process_mprotect(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process,
                                           uint64_t start, uint64_t length, uint32_t protection);

/* What a process says of its memory: madvise. */
enum {
  VMEM_DONTNEED = 0,  /* the pages are gone, and read as zeros or as their file when they are touched again */
  VMEM_HUGEPAGE = 1,  /* faults may give pages of 2 MiB from now on */
  VMEM_NOHUGEPAGE = 2 /* they give pages of 4 KiB */
};

/* Of `length` bytes at `start`, all of them mapped. */
VMEM_API vmem_status vmem_process_madvise(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process, uint64_t start,
                                          uint64_t length, uint32_t advice);
/* Moves the end of the heap to `end`, if it can; 0 asks. `got` receives where it is. */
VMEM_API vmem_status vmem_process_brk(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process, uint64_t end,
                                      uint64_t* got);

/* A part of a process's address space that is mapped alike. */
typedef struct vmem_area {
  uint32_t size;
  uint32_t protection;
  uint64_t start;
  uint64_t end; /* the first address after it */
} vmem_area;

/* The first area that ends after `address`: the one that holds it, or the next one. `area->size` must be set. All zeros
 * if there is none. */
VMEM_API vmem_status vmem_process_area(vmem_host* host, uint32_t vm, uint32_t process, uint64_t address,
                                       vmem_area* area);

/* Bytes through the MMU, one access a page, faults served. VMEM_SEGFAULT: `at` receives the address, and what lies
 * before it is done. `at` NULL: of no interest. */
VMEM_API vmem_status vmem_process_read(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process, uint64_t address,
                                       void* bytes, uint64_t length, uint64_t* at);
VMEM_API vmem_status vmem_process_write(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process, uint64_t address,
                                        const void* bytes, uint64_t length, uint64_t* at);

typedef struct vmem_summary {
  uint32_t size;
  uint32_t stopped;        /* 1: the process or VM cannot go on */
  uint64_t done;           /* accesses made or given up */
  uint64_t segfaults;      /* given up: SIGSEGV */
  uint64_t first_segfault; /* the address of the first, if there is any */
} vmem_summary;

/* One access, faults served: VMEM_OK, VMEM_SEGFAULT or VMEM_STOPPED. `hpa` receives the machine address, all ones where
 * there is no memory; NULL: of no interest. */
VMEM_API vmem_status vmem_process_access(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process,
                                         uint64_t address, uint32_t kind, uint64_t* hpa);
/* `count` accesses in order, faults served. `summary->size` must be set; NULL: of no interest. VMEM_OK, or VMEM_STOPPED
 * if they ended early. VMEM_E_ARGUMENT at a kind that does not exist, VMEM_E_CALLBACK when a callback fails: `summary`
 * says what was made before. */
VMEM_API vmem_status vmem_process_access_batch(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process,
                                               const uint64_t* addresses, const uint8_t* kinds, uint64_t count,
                                               vmem_summary* summary);
/* References of one stream, data or fetches, to one page in a row, as docs/formats/vmt.md defines them. A replay of
 * runs gives the counters of a replay of every reference. */
typedef struct vmem_run {
  uint64_t
      page; /* address of the page; bits 1:0: kind of the first reference. The first store to a page begins a run */
  uint32_t loads;  /* or fetches */
  uint32_t stores; /* 0 unless the run began with a store */
} vmem_run;

/* The same of `count` runs. VMEM_E_ARGUMENT at a run whose kind and counts do not go together; those before it were
 * made. */
VMEM_API vmem_status vmem_process_replay(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process,
                                         const vmem_run* runs, uint64_t count, vmem_summary* summary);
/* Where loads would go by the tables; changes nothing. All ones where nowhere. */
VMEM_API vmem_status vmem_process_translate(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process,
                                            const uint64_t* addresses, uint64_t count, uint64_t* hpas);

/* Files lie on the guest's disk, and are read and written through its page cache; a VM without a disk has none. A file
 * has a fixed size. */
VMEM_API vmem_status vmem_file_create(vmem_host* host, uint32_t vm, const char* name, uint64_t bytes, uint32_t* file);
/* VMEM_E_ARGUMENT while a process maps it. */
VMEM_API vmem_status vmem_file_unlink(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t file);
/* VMEM_E_IO, and VMEM_E_ARGUMENT beyond the file's end. What is written reaches the disk half a minute later, or by
 * fsync. */
VMEM_API vmem_status vmem_file_read(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t file, uint64_t offset,
                                    void* bytes, uint64_t length);
VMEM_API vmem_status vmem_file_write(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t file, uint64_t offset,
                                     const void* bytes, uint64_t length);
/* VMEM_E_IO: the disk has not taken everything. */
VMEM_API vmem_status vmem_file_fsync(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t file);
/* Gives up what of the page cache is clean: /proc/sys/vm/drop_caches. */
VMEM_API vmem_status vmem_guest_drop_caches(vmem_host* host, uint32_t vm);

/* Something rare that happened (docs/reference/events.md), valid until the callback returns. */
typedef struct vmem_event {
  uint32_t size;
  uint32_t count; /* of names and values */
  uint64_t at;    /* nanoseconds */
  const char* kind;
  const char* subject; /* the name of a VM or process, or "host" */
  const char* const* names;
  const uint64_t* values;
} vmem_event;

/* Callbacks return 0; anything else makes the call in progress return VMEM_E_CALLBACK. They may ask the host for its
 * clock and for counters; a policy may set balloon targets too. Everything else answers VMEM_E_BUSY. They must not
 * leave by longjmp. */
typedef int32_t (*vmem_event_fn)(void* user, vmem_host* host, const vmem_event* event);
typedef int32_t (*vmem_policy_fn)(void* user, vmem_host* host, uint64_t now);

/* From now on every new event is told, before the call in which it happened returns; those told together come in the
 * order of their time. NULL: no more. */
VMEM_API vmem_status vmem_host_on_event(vmem_host* host, vmem_event_fn on_event, void* user);

/* From now on called every `interval` nanoseconds of simulated time, in whatever call that time passes. NULL: no more.
 */
VMEM_API vmem_status vmem_host_set_policy(vmem_host* host, uint64_t interval, vmem_policy_fn policy, void* user);

#ifdef __cplusplus
}
#endif

#endif
