/* A trace-driven simulator of a small processor, with vmem as its MMU.
 *
 * The processor executes one instruction after the other, has a data cache with physical tags, and waits for memory. It
 * has a physical memory of its own and an operating system of thirty lines, which gives a page when it is first
 * touched. vmem is asked where each reference goes, and reads and writes the page tables in the simulator's memory as
 * it walks.
 *
 *   cc trace_cpu.c -o trace_cpu $(python -m vmem --cflags --libs)
 *   valgrind --tool=lackey --trace-mem=yes ls 2>&1 | ./trace_cpu zen3
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmem/mmu.h>

enum { PAGE = 4096, MEMORY = 256 << 20, LINE = 64, SETS = 64, WAYS = 8 };
enum { MISS_CYCLES = 180, ENTRY_CYCLES = 30, FAULT_CYCLES = 1500 };
enum { PRESENT = 1, WRITABLE = 2, USER = 4 };

typedef struct machine {
  uint8_t* memory;
  uint64_t next_frame; /* the operating system's: what lies below is in use */
  uint64_t root;       /* of the page table */
  vmem_mmu* mmu;
  uint64_t tags[SETS][WAYS]; /* of the data cache, the most recently used first */
  uint64_t instructions, references, cycles, cache_misses, page_faults;
} machine;

static void fail(const char* what) {
  fprintf(stderr, "trace_cpu: %s: %s\n", what, vmem_last_error());
  exit(1);
}

/* --- the operating system --- */

static uint64_t new_frame(machine* m) {
  if (m->next_frame + PAGE > MEMORY) {
    fprintf(stderr, "trace_cpu: the program needs more than %d MiB\n", MEMORY >> 20);
    exit(1);
  }
  m->next_frame += PAGE;
  return m->next_frame - PAGE;
}

static uint64_t load_entry(const machine* m, uint64_t at) {
  uint64_t entry;
  memcpy(&entry, m->memory + at, sizeof entry);
  return entry;
}

static void store_entry(machine* m, uint64_t at, uint64_t entry) { memcpy(m->memory + at, &entry, sizeof entry); }

/* Maps the page of `va` to a new frame. Nothing need be invalidated: what is not present is never cached. */
static void serve_page_fault(machine* m, uint64_t va) {
  uint64_t table = m->root;
  for (int level = 4;; --level) {
    const uint64_t at = table + (va >> (12 + 9 * (level - 1)) & 511) * 8;
    uint64_t entry = load_entry(m, at);
    if (!(entry & PRESENT)) {
      entry = new_frame(m) | PRESENT | WRITABLE | USER;
      store_entry(m, at, entry);
    }
    if (level == 1) return;
    table = entry & ~(uint64_t)0xfff;
  }
}

static void boot(machine* m, const char* cpu) {
  vmem_mmu_config config;
  vmem_mmu_state state;
  memset(m, 0, sizeof *m);
  m->memory = calloc(1, MEMORY);
  if (m->memory == NULL) fail("no memory");
  m->next_frame = PAGE;
  m->root = new_frame(m);
  VMEM_INIT(config);
  config.cpu = cpu;
  config.memory = m->memory;
  config.memory_bytes = MEMORY;
  if (vmem_mmu_create(&config, &m->mmu) != VMEM_OK) fail("vmem_mmu_create");
  VMEM_INIT(state);
  if (vmem_mmu_get_state(m->mmu, &state) != VMEM_OK) fail("vmem_mmu_get_state");
  state.cr3 = m->root;
  if (vmem_mmu_set_state(m->mmu, &state) != VMEM_OK) fail("vmem_mmu_set_state");
}

/* --- the processor --- */

/* The physical address of a reference, whatever it takes. */
static uint64_t translate(machine* m, uint64_t va, uint32_t kind) {
  vmem_result result;
  VMEM_INIT(result);
  for (;;) {
    switch (vmem_mmu_access(m->mmu, va, kind, &result)) {
      case VMEM_OK:
        return result.pa;
      case VMEM_FAULT:
        if (result.fault != VMEM_PAGE_FAULT) {
          fprintf(stderr, "trace_cpu: fault %" PRIu32 " at %#" PRIx64 "\n", result.fault, va);
          exit(1);
        }
        ++m->page_faults;
        m->cycles += FAULT_CYCLES;
        serve_page_fault(m, va);
        break;
      default:
        fail("vmem_mmu_access");
    }
  }
}

static void look_up_cache(machine* m, uint64_t pa) {
  uint64_t* const set = m->tags[pa / LINE % SETS];
  const uint64_t tag = pa / LINE + 1; /* 0 is an empty way */
  int way = 0;
  while (way < WAYS - 1 && set[way] != tag) ++way;
  if (set[way] != tag) {
    ++m->cache_misses;
    m->cycles += MISS_CYCLES;
  }
  memmove(set + 1, set, (size_t)way * sizeof *set);
  set[0] = tag;
}

static void reference(machine* m, uint64_t va, uint32_t kind) {
  ++m->references;
  ++m->cycles;
  const uint64_t pa = translate(m, va, kind);
  if (kind == VMEM_FETCH)
    ++m->instructions;
  else
    look_up_cache(m, pa);
}

/* One line of a lackey trace: "I  0400d7d4,8", " L 1ffeffe7e,8", " S ...", " M ..." (load, then store). */
static void execute(machine* m, const char* line) {
  char what;
  uint64_t va;
  if (sscanf(line, " %c %" SCNx64 ",", &what, &va) != 2) return;
  switch (what) {
    case 'I':
      reference(m, va, VMEM_FETCH);
      break;
    case 'L':
      reference(m, va, VMEM_LOAD);
      break;
    case 'S':
      reference(m, va, VMEM_STORE);
      break;
    case 'M':
      reference(m, va, VMEM_LOAD);
      reference(m, va, VMEM_STORE);
      break;
    default:
      break; /* valgrind's own words */
  }
}

/* --- the report --- */

static void report(machine* m) {
  uint64_t walk_refs = 0;
  if (vmem_mmu_counter(m->mmu, "walk_refs", &walk_refs) != VMEM_OK) fail("vmem_mmu_counter");
  m->cycles += walk_refs * ENTRY_CYCLES;
  printf("instructions %" PRIu64 "\nreferences %" PRIu64 "\ncycles %" PRIu64 "\n", m->instructions, m->references,
         m->cycles);
  printf("cache_misses %" PRIu64 "\npage_faults %" PRIu64 "\n", m->cache_misses, m->page_faults);
  for (uint32_t i = 0; vmem_counter_name(i) != NULL; ++i) {
    uint64_t value = 0;
    if (vmem_mmu_counter(m->mmu, vmem_counter_name(i), &value) != VMEM_OK) fail("vmem_mmu_counter");
    printf("mmu.%s %" PRIu64 "\n", vmem_counter_name(i), value);
  }
}

int main(int count, char** words) {
  static machine m;
  char line[256];
  if (count > 2) {
    fprintf(stderr, "usage: trace_cpu [CPU] <TRACE\n");
    return 2;
  }
  boot(&m, count == 2 ? words[1] : "skylake-sp");
  while (fgets(line, sizeof line, stdin) != NULL) execute(&m, line);
  report(&m);
  vmem_mmu_destroy(m.mmu);
  free(m.memory);
  return 0;
}
