/* Programs: what processes of guests do by themselves while simulated time passes, on physical CPUs that all VMs of the
 * host share (vmem_host_config.cpus). vmem_host_run lets them go on; between its calls the host is used as always.
 *
 * Programs are named by numbers. When one ends, its process exits. docs/design/time.md says in which order things
 * happen.
 */
#ifndef VMEM_PROGRAM_H
#define VMEM_PROGRAM_H

#include <vmem/host.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What synthetic programs do: references of 8 bytes, by formulas that give the same ones on every machine. */
enum {
  VMEM_WORKLOAD_UNIFORM = 0,       /* every word alike */
  VMEM_WORKLOAD_ZIPF = 1,          /* pages by Zipf's law: the k-th most popular in proportion to 1 / k**skew */
  VMEM_WORKLOAD_SEQUENTIAL = 2,    /* word after word, from the start again at the end */
  VMEM_WORKLOAD_STRIDE = 3,        /* every `step` bytes, wrapping around */
  VMEM_WORKLOAD_HOT_COLD = 4,      /* a share of them goes to `hot` bytes, which move now and then */
  VMEM_WORKLOAD_POINTER_CHASE = 5, /* from one 64-byte node to the next, each once in a round, in no order */
  VMEM_WORKLOAD_RANDOM_UPDATE = 6, /* reads a word anywhere, writes it, goes on to the next */
  VMEM_WORKLOAD_FORK_CHURN = 7,    /* touches all of its memory, then forks child after child, each of which exits */
  VMEM_WORKLOAD_DEMAND = 8,        /* memory that grows and shrinks by a curve; never ends */
  VMEM_WORKLOAD_FILE_SCAN = 9      /* reads a mapped file from end to end, again and again, every `step` bytes */
};

/* A point of a demand curve, which holds until the next one. Sizes are multiples of 4096. */
typedef struct vmem_demand_point {
  uint64_t at;        /* nanoseconds from the program's start; of the first point 0, then ascending */
  uint64_t allocated; /* bytes that it has mapped and touched, at most 2**46 */
  uint64_t active;    /* bytes of them that it references */
} vmem_demand_point;

/* Members of other kinds than the program's must be 0. */
typedef struct vmem_workload {
  uint32_t size;
  uint32_t kind;       /* VMEM_WORKLOAD_... */
  uint64_t bytes;      /* of memory or of the file: a multiple of 4096, at most 2**46. Not of DEMAND */
  uint64_t references; /* 0: 10,000,000. FORK_CHURN: of each child; 0: 10,000. Not of DEMAND */
  double writes;       /* the share of stores, 0 to 1; 0 is none, of every kind. Not of RANDOM_UPDATE: every second */
  double skew;         /* ZIPF: above 0, at most 8; 0: 0.99 */
  double hot_share;    /* HOT_COLD: of the references, 0 to 1; 0: 0.9 */
  uint64_t hot;        /* HOT_COLD: bytes, a multiple of 4096, at most `bytes` */
  uint64_t phase;      /* HOT_COLD: references after which they move; 0: 1,000,000 */
  uint64_t step;       /* STRIDE, FILE_SCAN: less than `bytes`; 0: 4096, 512. FILE_SCAN: a multiple of 8 */
  uint64_t children;   /* FORK_CHURN; 0: 1000 */
  const vmem_demand_point* curve; /* DEMAND; copied */
  uint64_t points;                /* of `curve` */
  uint32_t burst;                 /* UNIFORM, ZIPF, HOT_COLD: words in a row at every place, up to 512; 0: 1 */
  uint32_t file;                  /* FILE_SCAN: its number; 0: a new one, "file-scan-" and the process's number */
  uint64_t seed;                  /* of the references; 0: one that follows from VM and process */
  uint64_t compute_ns;            /* CPU time of its own between references, at most an hour; 0: 1000 */
  uint64_t limit;                 /* references of all times together; 0: none */
  uint32_t times;                 /* that it is run, each in a process of its own, at most 1,000,000; 0: 1 */
  uint32_t page;                  /* the largest page of its mapping: VMEM_PAGE_.... Not of FILE_SCAN */
  uint32_t no_compute;            /* not 0: it computes nothing */
  uint32_t reserved;              /* 0 */
} vmem_workload;

/* Gives a process a synthetic program, which begins in the next vmem_host_run, on `vcpu`. `program` receives its
 * number; NULL: of no interest. It maps what it needs by itself. */
VMEM_API vmem_status vmem_process_start(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process,
                                        const vmem_workload* workload, uint64_t* program);

/* What a trace says next. */
enum {
  VMEM_ITEM_END = 0,
  VMEM_ITEM_RUNS = 1,       /* `count` `runs` */
  VMEM_ITEM_REFERENCES = 2, /* `count` `addresses` and their `kinds` */
  VMEM_ITEM_MMAP = 3,       /* the program has mapped `length` bytes at `start`, as `protection` and `name` say */
  VMEM_ITEM_MUNMAP = 4,     /* it has unmapped them */
  VMEM_ITEM_MPROTECT = 5,   /* it has given them another `protection`; what of them is not mapped yet, is mapped */
  VMEM_ITEM_BRK = 6         /* its heap, which begins at `start`, has `length` bytes now */
};

/* All zeros but for `size`, which says what the library knows, when it is to be filled; what it points to is copied. */
typedef struct vmem_trace_item {
  uint32_t size;
  uint32_t kind; /* VMEM_ITEM_... */
  uint64_t count;
  const vmem_run* runs;
  const uint64_t* addresses;
  const uint8_t* kinds;
  uint64_t start;
  uint64_t length;
  const char* name;    /* NULL: none */
  uint32_t protection; /* VMEM_READ | ... */
  uint32_t reserved;   /* 0 */
} vmem_trace_item;

/* Fills in item `number`, from 0 each time that the trace begins. Like other callbacks it returns 0, may look at the
 * host, and must not leave by longjmp. What is no item at all makes vmem_host_run return VMEM_E_CALLBACK. */
typedef int32_t (*vmem_trace_fn)(void* user, vmem_host* host, uint64_t number, vmem_trace_item* item);

/* Memory that the traced program had from its beginning. */
typedef struct vmem_trace_area {
  uint64_t start; /* a multiple of 4096, as `length` */
  uint64_t length;
  uint32_t protection;
  uint32_t reserved; /* 0 */
} vmem_trace_area;

/* A recorded program: `runs`, or whatever `next` says. */
typedef struct vmem_trace {
  uint32_t size;
  uint32_t page;                /* the largest page of what is mapped: VMEM_PAGE_... */
  const vmem_run* runs;         /* as docs/formats/vmt.md defines them; copied */
  uint64_t run_count;           /* of them */
  const vmem_trace_area* areas; /* mapped at the beginning, where nothing is yet; copied */
  uint64_t area_count;          /* of them */
  vmem_trace_fn next;           /* instead of `runs`: asked as time passes */
  void* user;                   /* handed to it */
  uint64_t compute_ns;          /* these are as in vmem_workload */
  uint64_t limit;
  uint32_t times;
  uint32_t no_compute;
} vmem_trace;

/* Gives a process a trace as its program. The rest is as of vmem_process_start. */
VMEM_API vmem_status vmem_process_start_trace(vmem_host* host, uint32_t vm, uint32_t vcpu, uint32_t process,
                                              const vmem_trace* trace, uint64_t* program);

/* Why a run was over. */
enum {
  VMEM_END_TIME = 0,      /* its time was */
  VMEM_END_PROGRAMS = 1,  /* all programs had ended */
  VMEM_END_REFERENCES = 2 /* they had made enough references */
};

/* Lets time pass, in which programs run, and everything happens that happens in vmem_host_advance. Ends after
 * `nanoseconds`, earlier if all programs have ended or have made `references` in all since they were started (0: any
 * number). `ended` receives which, VMEM_END_...; NULL: of no interest.
 * Events are told as they happen; one of a vCPU that runs may lie ahead of the host's clock by its turn, a quantum.
 * VMEM_E_CALLBACK: a callback failed. VMEM_E_ARGUMENT: a program made a call that its kernel does not accept, such as a
 * mapping of a file that is gone. Both end it early, and the program will try again; vmem_process_exit ends it. */
VMEM_API vmem_status vmem_host_run(vmem_host* host, uint64_t nanoseconds, uint64_t references, uint32_t* ended);

/* What a program has done so far, all of its times together. */
typedef struct vmem_program_state {
  uint32_t size;
  uint32_t ended;            /* 1: it will not go on */
  const char* stopped;       /* why, if before its end; NULL if not. Valid as long as its VM */
  uint64_t times;            /* that it has begun */
  uint64_t references;       /* made */
  uint64_t segfaults;        /* of them: SIGSEGV */
  uint64_t first_segfault;   /* the address of the first, if there is any */
  uint64_t progressed_at;    /* when its last reference had been made: nanoseconds of the host's clock */
  uint64_t bursts;           /* DEMAND: growths, each until all of it had been touched */
  uint64_t burst_bytes;      /* by which it grew */
  uint64_t burst_ns;         /* that they took together */
  uint64_t longest_burst_ns; /* of one */
  uint64_t bursts_cut_short; /* that ended before all of it was there; they count nowhere else */
} vmem_program_state;

/* `state->size` must be set. VMEM_E_HANDLE if its VM has been destroyed. */
VMEM_API vmem_status vmem_program_get_state(vmem_host* host, uint64_t program, vmem_program_state* state);

/* How many references of a program cost how much, without what it computes, with what it waited: `references[i]` of
 * them up to `picoseconds[i]` (to 1/64 of it), ascending. Writes as many as there are, at most `room`; `count` receives
 * how many there are. The arrays may be NULL if `room` is 0. docs/reference/outcome.md says how it is measured. */
VMEM_API vmem_status vmem_program_costs(vmem_host* host, uint64_t program, uint64_t* picoseconds, uint64_t* references,
                                        uint64_t room, uint64_t* count);

/* What the time of a VM's vCPUs has gone to since it was created, in nanoseconds. */
typedef struct vmem_vm_time {
  uint32_t size;
  uint32_t paused;     /* 1: it stands still */
  uint64_t references; /* made by its programs: its progress */
  uint64_t running;    /* on a physical CPU */
  uint64_t waiting;    /* for disk or swap: stalled by memory */
  uint64_t runnable;   /* with no physical CPU to run on */
} vmem_vm_time;

/* `time->size` must be set. */
VMEM_API vmem_status vmem_vm_get_time(vmem_host* host, uint32_t vm, vmem_vm_time* time);

/* While a VM is paused (not 0), its programs, timers and drivers stand still as time passes. What fell due is done at
 * the end of the pause. Calls of its processes are made all the same. */
VMEM_API vmem_status vmem_vm_set_paused(vmem_host* host, uint32_t vm, uint32_t paused);

#ifdef __cplusplus
}
#endif

#endif
