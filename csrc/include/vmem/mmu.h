/* An MMU alone, for simulators that have a memory and an operating system of their own: TLBs, paging-structure caches,
 * a nested TLB and the walkers, for x86-64 tables of 4 and 5 levels and for EPT and NPT. What it caches and when is
 * fixed by docs/design/mmu.md.
 *
 * The MMU reads and writes page-table entries in the caller's memory and nothing else: data are the caller's business.
 */
#ifndef VMEM_MMU_H
#define VMEM_MMU_H

#include <vmem/cpu.h>
#include <vmem/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vmem_mmu vmem_mmu;

/* Kinds of access, as in the arrays of kinds. */
enum { VMEM_LOAD = 0, VMEM_STORE = 1, VMEM_FETCH = 2 };

/* Reads or writes the 8-byte entry at physical address `pa`, a multiple of 8; `value` is its number, little-endian in
 * memory. 0: done. Anything else makes the call in progress return VMEM_E_CALLBACK. They may call nothing of the MMU
 * that calls them, and must not leave by longjmp. */
typedef int32_t (*vmem_read_fn)(void* user, uint64_t pa, uint64_t* value);
typedef int32_t (*vmem_write_fn)(void* user, uint64_t pa, uint64_t value);

/* One TLB for all page sizes, least recently used goes first: `entries` in sets of `ways`, 0 ways: fully associative.
 */
typedef struct vmem_tlb_shape {
  uint32_t entries; /* 0: as the processor has it */
  uint32_t ways;
} vmem_tlb_shape;

typedef struct vmem_mmu_config {
  uint32_t size;
  uint32_t maxphyaddr;   /* bits of a physical address, 32 to 52; 0: as the processor has it */
  const char* cpu;       /* a name of vmem_cpu_name; NULL: "skylake-sp" */
  void* memory;          /* physical address 0; must outlive the MMU. NULL: none */
  uint64_t memory_bytes; /* a multiple of 4096 */
  vmem_read_fn read;     /* for addresses beyond memory_bytes; NULL: they read as all ones */
  vmem_write_fn write;   /* the same; NULL: writes are ignored */
  void* user;            /* handed to both */
  vmem_tlb_shape l1d, l1i, l2;
  uint32_t guest_levels;            /* 4 or 5; 0: as the processor has it */
  uint32_t host_levels;             /* the same, of NPT; EPT's are in the EPTP */
  uint32_t no_psc;                  /* not 0: no paging-structure caches, in neither dimension */
  uint32_t no_nested_tlb;           /* not 0: gPA to hPA is not cached */
  uint32_t no_one_gib_pages;        /* not 0: CPUID without 1 GiB pages */
  uint32_t no_execute_only;         /* not 0: an EPT entry that allows nothing but fetches is misconfigured */
  const vmem_cpu_config* processor; /* instead of `cpu` */
} vmem_mmu_config;

/* The registers that decide about a translation. Long mode only. */
typedef struct vmem_mmu_state {
  uint32_t size;
  uint32_t cpl; /* 0 to 3 */
  uint64_t cr0, cr3, cr4, efer;
  uint64_t eptp; /* not 0: a second dimension, of EPT */
  uint64_t ncr3; /* not 0: a second dimension, of NPT; not both */
  uint32_t pkru;
  uint32_t ac;     /* EFLAGS.AC: 0 or 1 */
  uint32_t vpid;   /* tags what is cached; 0 to 65535 */
  uint32_t shadow; /* not 0: CR3 names a shadow table of a hypervisor: its walks count as walk_refs_host */
} vmem_mmu_state;

/* Values of vmem_result.fault. */
enum {
  VMEM_NO_FAULT = 0,
  VMEM_PAGE_FAULT = 1,           /* #PF */
  VMEM_GENERAL_PROTECTION = 2,   /* #GP(0): the address is not canonical */
  VMEM_EPT_VIOLATION = 3,        /* VM exit 48 */
  VMEM_EPT_MISCONFIGURATION = 4, /* VM exit 49 */
  VMEM_NESTED_PAGE_FAULT = 5     /* #VMEXIT(NPF) */
};

/* Where an access went, or why it did not. `pa` and `page_size` are written if it went through, the others if not. */
typedef struct vmem_result {
  uint32_t size;
  uint32_t fault;
  uint64_t pa;            /* of the byte */
  uint64_t page_size;     /* bytes that the TLB entry covers */
  uint64_t address;       /* the virtual address */
  uint64_t error_code;    /* #PF: that of the exception; #NPF: EXITINFO1 */
  uint64_t qualification; /* EPT violation: exit qualification */
  uint64_t gpa;           /* EPT and NPT: the guest-physical address that could not be translated */
  uint64_t entry;         /* the entry that ended the walk */
  uint32_t level;         /* its level, 1 for a PTE */
  uint32_t kind;          /* of the access */
} vmem_result;

/* Makes an MMU with empty caches, in long mode, CR3 0, CPL 3. It is the caller's to destroy. */
VMEM_API vmem_status vmem_mmu_create(const vmem_mmu_config* config, vmem_mmu** mmu);

/* NULL is accepted. VMEM_E_BUSY from inside its callbacks. */
VMEM_API vmem_status vmem_mmu_destroy(vmem_mmu* mmu);

/* `state->size` must be set for both. Setting replaces all registers and implies no invalidation: mov_cr3 and mov_cr4
 * are the instructions. */
VMEM_API vmem_status vmem_mmu_get_state(vmem_mmu* mmu, vmem_mmu_state* state);
VMEM_API vmem_status vmem_mmu_set_state(vmem_mmu* mmu, const vmem_mmu_state* state);

/* One access, counted. VMEM_OK or VMEM_FAULT, with `result` filled; NULL if it is of no interest. */
VMEM_API vmem_status vmem_mmu_access(vmem_mmu* mmu, uint64_t va, uint32_t kind, vmem_result* result);

/* What the access would give by the tables alone. Changes nothing: no cache, no counter, no A or D bit. */
VMEM_API vmem_status vmem_mmu_probe(vmem_mmu* mmu, uint64_t va, uint32_t kind, vmem_result* result);

/* What is done about a fault of access `index` of a batch. `fault` is valid until it returns. The function may use the
 * MMU: change tables, invalidate, set registers, make accesses; it may not destroy it. */
enum {
  VMEM_SKIP = 0,  /* the access is given up */
  VMEM_RETRY = 1, /* the fault was served: walk again, not counted as an access. At most 64 times for one access */
  VMEM_HALT = 2   /* the batch ends after this access */
};
typedef int32_t (*vmem_fault_fn)(void* user, uint64_t index, const vmem_result* fault);

/* `count` accesses in order, counted. `addresses` and `kinds` hold one element each. `pas` receives where each went,
 * all ones where nowhere; NULL is faster. `on_fault` NULL: every faulting access is skipped. `done` receives the number
 * of accesses made, NULL if of no interest; it is right for refusals too: VMEM_E_ARGUMENT at a kind that does not
 * exist, VMEM_E_CALLBACK when a callback fails; a failed write of an entry may be noticed up to 4096 accesses later. */
VMEM_API vmem_status vmem_mmu_access_batch(vmem_mmu* mmu, const uint64_t* addresses, const uint8_t* kinds,
                                           uint64_t count, uint64_t* pas, vmem_fault_fn on_fault, void* user,
                                           uint64_t* done);

/* The invalidating instructions; types are the processor's. INVVPID and INVEPT that would fail: VMEM_E_ARGUMENT. */
VMEM_API vmem_status vmem_mmu_invlpg(vmem_mmu* mmu, uint64_t va);
VMEM_API vmem_status vmem_mmu_invpcid(vmem_mmu* mmu, uint32_t type, uint32_t pcid, uint64_t va);
VMEM_API vmem_status vmem_mmu_invvpid(vmem_mmu* mmu, uint32_t type, uint32_t vpid, uint64_t va);
VMEM_API vmem_status vmem_mmu_invept(vmem_mmu* mmu, uint32_t type, uint64_t eptp);
VMEM_API vmem_status vmem_mmu_mov_cr3(vmem_mmu* mmu, uint64_t value);
VMEM_API vmem_status vmem_mmu_mov_cr4(vmem_mmu* mmu, uint64_t value);
/* Everything that it caches. */
VMEM_API vmem_status vmem_mmu_flush(vmem_mmu* mmu);

/* A counter by its name (vmem_counter_name; docs/reference/counters.md), since creation or the last reset. */
VMEM_API vmem_status vmem_mmu_counter(vmem_mmu* mmu, const char* name, uint64_t* value);
VMEM_API vmem_status vmem_mmu_reset_counters(vmem_mmu* mmu);

#ifdef __cplusplus
}
#endif

#endif
