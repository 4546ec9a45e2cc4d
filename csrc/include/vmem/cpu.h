/* A processor as data: what it has to translate addresses with. Hosts, VMs and MMUs take one wherever they take the
 * name of a built-in one. docs/design/mmu.md fixes what each part does.
 */
#ifndef VMEM_CPU_H
#define VMEM_CPU_H

#include <vmem/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which entry of a full set goes: the least recently used one, by the bits of a binary tree, the oldest, any. */
enum { VMEM_LRU = 0, VMEM_TREE_PLRU = 1, VMEM_FIFO = 2, VMEM_RANDOM = 3 };

/* Page sizes whose translations an array of a TLB holds. */
enum { VMEM_HOLDS_4K = 1, VMEM_HOLDS_2M = 2, VMEM_HOLDS_1G = 4 };

/* One array of entries. All zeros: there is none. */
typedef struct vmem_cache {
  uint32_t entries;     /* a multiple of `ways`, at most 2**22 */
  uint32_t ways;        /* of each set; 0: fully associative. A power of two up to 64 for VMEM_TREE_PLRU */
  uint32_t replacement; /* VMEM_LRU... */
  uint32_t pages;       /* of a TLB: bits VMEM_HOLDS_...; 0: all. Of other caches 0 */
  uint64_t seed;        /* of VMEM_RANDOM */
} vmem_cache;

/* Paging-structure caches of one dimension, by the entries that they hold. */
typedef struct vmem_psc {
  vmem_cache pde, pdpte, pml4e, pml5e;
} vmem_psc;

/* A level of a TLB is one array, or up to three that hold different page sizes. The first level must be there. */
typedef struct vmem_cpu_config {
  uint32_t size;
  uint32_t maxphyaddr; /* bits of a physical address, 32 to 52; 0: 46 */
  vmem_cache l1d[3], l1i[3], l2[3];
  vmem_psc psc;              /* of the guest's tables */
  vmem_psc host_psc;         /* of the second dimension */
  vmem_cache nested_tlb;     /* gPA to hPA */
  uint32_t guest_levels;     /* of page tables, 4 or 5; 0: 4 */
  uint32_t host_levels;      /* the same, of the second dimension */
  uint32_t npt;              /* not 0: its second dimension is AMD's, not EPT */
  uint32_t no_one_gib_pages; /* not 0: CPUID without 1 GiB pages */
  uint32_t no_execute_only;  /* not 0: an EPT entry that allows nothing but fetches is misconfigured */
  uint32_t reserved;         /* 0 */
} vmem_cpu_config;

/* A built-in processor by its name (vmem_cpu_name), to be changed or looked at. `config->size` must be set. */
VMEM_API vmem_status vmem_cpu_preset(const char* name, vmem_cpu_config* config);

#ifdef __cplusplus
}
#endif

#endif
