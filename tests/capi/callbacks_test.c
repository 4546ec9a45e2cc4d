/* An MMU whose tables are behind callbacks: the same as flat memory, and what happens when they fail or lie. C99. */
#include "check.h"
#include "tables.h"

static tables memory;

typedef struct bus {
  vmem_mmu* mmu;
  uint64_t reads, writes;
  uint64_t read_fails_at, write_fails_at; /* 1: the first */
  int lies;                               /* says that it has read, and has not */
} bus;

static int32_t read_entry(void* user, uint64_t pa, uint64_t* value) {
  bus* of = user;
  CHECK(pa % 8 == 0);
  CHECK_STATUS(vmem_mmu_flush(of->mmu), VMEM_E_BUSY);
  CHECK_STATUS(vmem_mmu_destroy(of->mmu), VMEM_E_BUSY);
  if (++of->reads == of->read_fails_at) {
    *value = UINT64_MAX; /* is not looked at */
    return -1;
  }
  if (of->lies) return 0;
  *value = pa < sizeof memory.words ? memory.words[pa / 8] : 0x8080808080808080u;
  return 0;
}

static int32_t write_entry(void* user, uint64_t pa, uint64_t value) {
  bus* of = user;
  if (++of->writes == of->write_fails_at) return 1;
  if (pa < sizeof memory.words) memory.words[pa / 8] = value;
  return 0;
}

static uint64_t counter(vmem_mmu* mmu, const char* name) {
  uint64_t value = 0;
  CHECK_OK(vmem_mmu_counter(mmu, name, &value));
  return value;
}

static void connect_bus(bus* of) {
  vmem_mmu_config config;
  vmem_mmu_state state;
  memset(of, 0, sizeof *of);
  VMEM_INIT(config);
  config.maxphyaddr = 52;
  config.read = read_entry;
  config.write = write_entry;
  config.user = of;
  CHECK_OK(vmem_mmu_create(&config, &of->mmu));
  VMEM_INIT(state);
  CHECK_OK(vmem_mmu_get_state(of->mmu, &state));
  state.cr3 = 0x1000;
  CHECK_OK(vmem_mmu_set_state(of->mmu, &state));
}

static void test_like_flat_memory(void) {
  static tables flat;
  bus of;
  vmem_mmu_config config;
  vmem_mmu_state state;
  vmem_mmu* mmu = NULL;
  tables_init(&memory);
  for (uint64_t page = 0; page < 16; ++page)
    tables_map(&memory, 0x400000 + page * 0x1000, 0x10000 + page * 0x1000, page % 3 == 0 ? USER : USER | WRITABLE);
  flat = memory;
  connect_bus(&of);
  VMEM_INIT(config);
  config.maxphyaddr = 52;
  config.memory = flat.words;
  config.memory_bytes = sizeof flat.words;
  CHECK_OK(vmem_mmu_create(&config, &mmu));
  VMEM_INIT(state);
  CHECK_OK(vmem_mmu_get_state(of.mmu, &state));
  CHECK_OK(vmem_mmu_set_state(mmu, &state));
  uint64_t random = 1;
  for (int i = 0; i < 2000; ++i) {
    vmem_result a, b;
    VMEM_INIT(a);
    VMEM_INIT(b);
    random = random * 6364136223846793005u + 1442695040888963407u;
    const uint64_t va = 0x400000 + (random >> 40) % 0x12000;
    const uint32_t kind = (uint32_t)(random >> 33) % 3;
    const vmem_status one = vmem_mmu_access(of.mmu, va, kind, &a);
    CHECK(one >= 0 && one == vmem_mmu_access(mmu, va, kind, &b));
    CHECK(memcmp(&a, &b, sizeof a) == 0);
  }
  for (uint32_t i = 0; vmem_counter_name(i) != NULL; ++i)
    CHECK(counter(mmu, vmem_counter_name(i)) == counter(of.mmu, vmem_counter_name(i)));
  CHECK(memcmp(&flat, &memory, sizeof flat) == 0); /* accessed and dirty bits */
  CHECK(of.reads == counter(of.mmu, "walk_refs") && of.writes > 0);
  CHECK_OK(vmem_mmu_destroy(mmu));
  CHECK_OK(vmem_mmu_destroy(of.mmu));
}

/* Whichever read or write fails: a status, nothing cached, and the next access as if nothing had happened. */
static void test_failures(void) {
  for (uint64_t failing = 1; failing <= 4; ++failing) {
    bus of;
    vmem_result result;
    tables_init(&memory);
    tables_map(&memory, 0x400000, 0x5000, USER | WRITABLE);
    connect_bus(&of);
    of.read_fails_at = failing;
    VMEM_INIT(result);
    CHECK_STATUS(vmem_mmu_access(of.mmu, 0x400000, VMEM_STORE, &result), VMEM_E_CALLBACK);
    CHECK(of.reads == failing);
    CHECK_OK(vmem_mmu_access(of.mmu, 0x400000, VMEM_STORE, &result));
    CHECK(result.pa == 0x5000 && of.reads == failing + 4);
    CHECK_OK(vmem_mmu_destroy(of.mmu));

    tables_init(&memory);
    tables_map(&memory, 0x400000, 0x5000, USER | WRITABLE);
    connect_bus(&of);
    of.write_fails_at = failing;
    CHECK_STATUS(vmem_mmu_access(of.mmu, 0x400000, VMEM_STORE, &result), VMEM_E_CALLBACK);
    CHECK_OK(vmem_mmu_access(of.mmu, 0x400000, VMEM_STORE, &result));
    CHECK(*tables_entry(&memory, 0x400000, 1) == (0x5000 | PRESENT | WRITABLE | USER | ACCESSED | DIRTY));
    CHECK_OK(vmem_mmu_destroy(of.mmu));
  }
}

static void test_failures_in_batches(void) {
  bus of;
  uint64_t addresses[3] = {0x400000, 0x401000, 0x402000}, pas[3] = {0, 0, 0}, done = 0;
  const uint8_t kinds[3] = {0, 0, 0};
  tables_init(&memory);
  for (int i = 0; i < 3; ++i) tables_map(&memory, addresses[i], 0x5000, USER);
  connect_bus(&of);
  of.read_fails_at = 5; /* with paging-structure caches: the only one of the second access */
  CHECK_STATUS(vmem_mmu_access_batch(of.mmu, addresses, kinds, 3, NULL, NULL, NULL, &done), VMEM_E_CALLBACK);
  CHECK(done == 2 && counter(of.mmu, "accesses") == 2);
  of.read_fails_at = of.reads + 5;
  CHECK_STATUS(vmem_mmu_access_batch(of.mmu, addresses, kinds, 3, pas, NULL, NULL, &done), VMEM_E_CALLBACK);
  CHECK(done == 2 && pas[0] == 0x5000 && pas[1] == UINT64_MAX);
  CHECK_OK(vmem_mmu_access_batch(of.mmu, addresses, kinds, 3, pas, NULL, NULL, &done));
  CHECK(done == 3 && pas[2] == 0x5000);
  CHECK_OK(vmem_mmu_destroy(of.mmu));
}

static void test_lies(void) {
  bus of;
  vmem_result result;
  tables_init(&memory);
  tables_map(&memory, 0x400000, 0x5000, USER);
  connect_bus(&of);
  of.lies = 1; /* an entry that nobody wrote is one that is not present */
  VMEM_INIT(result);
  CHECK_STATUS(vmem_mmu_access(of.mmu, 0x400000, VMEM_LOAD, &result), VMEM_FAULT);
  CHECK(result.fault == VMEM_PAGE_FAULT && result.level == 4 && result.error_code == 4);
  of.lies = 0;
  vmem_mmu_state state;
  VMEM_INIT(state);
  CHECK_OK(vmem_mmu_get_state(of.mmu, &state));
  state.cr3 = 0x7ffffff000; /* garbage: a table of nonsense */
  CHECK_OK(vmem_mmu_set_state(of.mmu, &state));
  CHECK_STATUS(vmem_mmu_access(of.mmu, 0x400000, VMEM_LOAD, &result), VMEM_FAULT);
  CHECK_OK(vmem_mmu_destroy(of.mmu));
}

int main(void) {
  test_like_flat_memory();
  test_failures();
  test_failures_in_batches();
  test_lies();
  return 0;
}
