/* An MMU over a flat memory: what a simulator does with it, and every way to get it wrong. C99. */
#include "check.h"
#include "tables.h"

static tables memory;

static vmem_mmu* new_mmu(void) {
  vmem_mmu_config config;
  vmem_mmu* mmu = NULL;
  VMEM_INIT(config);
  config.cpu = "zen3";
  config.memory = memory.words;
  config.memory_bytes = sizeof memory.words;
  CHECK_OK(vmem_mmu_create(&config, &mmu));
  vmem_mmu_state state;
  VMEM_INIT(state);
  CHECK_OK(vmem_mmu_get_state(mmu, &state));
  CHECK(state.cpl == 3 && state.cr3 == 0 && state.eptp == 0);
  state.cr3 = 0x1000;
  CHECK_OK(vmem_mmu_set_state(mmu, &state));
  return mmu;
}

static uint64_t counter(vmem_mmu* mmu, const char* name) {
  uint64_t value = 0;
  CHECK_OK(vmem_mmu_counter(mmu, name, &value));
  return value;
}

static void test_accesses(void) {
  tables_init(&memory);
  tables_map(&memory, 0x400000, 0x1234000, USER);
  vmem_mmu* mmu = new_mmu();
  vmem_result result;
  VMEM_INIT(result);
  CHECK_OK(vmem_mmu_probe(mmu, 0x400010, VMEM_LOAD, &result));
  CHECK(result.pa == 0x1234010 && counter(mmu, "accesses") == 0 && !(*tables_entry(&memory, 0x400000, 1) & ACCESSED));
  CHECK_OK(vmem_mmu_access(mmu, 0x400abc, VMEM_LOAD, &result));
  CHECK(result.fault == VMEM_NO_FAULT && result.pa == 0x1234abc && result.page_size == 4096);
  CHECK(*tables_entry(&memory, 0x400000, 1) & ACCESSED);
  CHECK_OK(vmem_mmu_access(mmu, 0x400abc, VMEM_LOAD, NULL));
  CHECK(counter(mmu, "accesses") == 2 && counter(mmu, "l1d_hits") == 1 && counter(mmu, "walk_refs") == 4);

  CHECK_STATUS(vmem_mmu_access(mmu, 0x400abc, VMEM_STORE, &result), VMEM_FAULT);
  CHECK(result.fault == VMEM_PAGE_FAULT && result.error_code == 7 && result.address == 0x400abc);
  CHECK(result.kind == VMEM_STORE && result.level == 1);
  CHECK_STATUS(vmem_mmu_access(mmu, 0x800000, VMEM_FETCH, &result), VMEM_FAULT);
  CHECK(result.error_code == 0x14);
  CHECK_STATUS(vmem_mmu_access(mmu, 1ull << 60, VMEM_LOAD, &result), VMEM_FAULT);
  CHECK(result.fault == VMEM_GENERAL_PROTECTION);

  /* Tables change; what is cached does not, until it is invalidated. */
  CHECK_OK(vmem_mmu_access(mmu, 0x400000, VMEM_LOAD, NULL));
  tables_map(&memory, 0x400000, 0x5678000, USER);
  CHECK_OK(vmem_mmu_access(mmu, 0x400000, VMEM_LOAD, &result));
  CHECK(result.pa == 0x1234000);
  CHECK_OK(vmem_mmu_invlpg(mmu, 0x400000));
  CHECK_OK(vmem_mmu_access(mmu, 0x400000, VMEM_LOAD, &result));
  CHECK(result.pa == 0x5678000);
  CHECK_OK(vmem_mmu_reset_counters(mmu));
  CHECK(counter(mmu, "accesses") == 0);
  CHECK_OK(vmem_mmu_destroy(mmu));
}

static void test_two_dimensions(void) {
  /* One table serves as both: identity for the second dimension but for the page itself. */
  static tables host;
  tables_init(&host);
  tables_init(&memory);
  tables_map(&memory, 0x400000, 0x7000, USER | WRITABLE);
  /* EPT in the upper half of one memory: R=1, W=2, X=4 are the bits that PRESENT, WRITABLE, USER are. */
  static uint64_t both[16384];
  for (uint64_t page = 0; page < 0x10000; page += 0x1000) tables_map(&host, page, page == 0x7000 ? 0x9000 : page, 7);
  memcpy(both, memory.words, sizeof memory.words);
  for (int i = 0; i < 8192; ++i) {
    const int is_leaf = i >= (int)(tables_entry(&host, 0, 1) - host.words);
    both[8192 + i] = host.words[i] == 0 || is_leaf ? host.words[i] : host.words[i] + 0x10000;
  }
  vmem_mmu_config config;
  vmem_mmu* mmu = NULL;
  VMEM_INIT(config);
  config.memory = both;
  config.memory_bytes = sizeof both;
  config.no_psc = config.no_nested_tlb = 1;
  CHECK_OK(vmem_mmu_create(&config, &mmu));
  vmem_mmu_state state;
  VMEM_INIT(state);
  CHECK_OK(vmem_mmu_get_state(mmu, &state));
  state.cr3 = 0x1000;
  state.eptp = 0x11000 | 3 << 3;
  CHECK_OK(vmem_mmu_set_state(mmu, &state));
  vmem_result result;
  VMEM_INIT(result);
  CHECK_OK(vmem_mmu_access(mmu, 0x400123, VMEM_LOAD, &result));
  CHECK(result.pa == 0x9123);
  CHECK(counter(mmu, "walk_refs") == 24); /* 4 x 5 + 4, as every textbook has it */
  state.ncr3 = 0x11000;
  CHECK_STATUS(vmem_mmu_set_state(mmu, &state), VMEM_E_ARGUMENT);
  CHECK(strstr(vmem_last_error(), "second stage") != NULL);
  both[8192 + 7 + (tables_entry(&host, 0, 1) - host.words)] = 0;
  CHECK_OK(vmem_mmu_invept(mmu, 2, 0));
  CHECK_STATUS(vmem_mmu_access(mmu, 0x400123, VMEM_STORE, &result), VMEM_FAULT);
  CHECK(result.fault == VMEM_EPT_VIOLATION && result.gpa == 0x7123 && (result.qualification & 2));
  CHECK_OK(vmem_mmu_destroy(mmu));
}

static void test_shadow_counts(void) {
  tables_init(&memory);
  tables_map(&memory, 0x400000, 0x1000, USER);
  vmem_mmu* mmu = new_mmu();
  vmem_mmu_state state;
  VMEM_INIT(state);
  CHECK_OK(vmem_mmu_get_state(mmu, &state));
  state.shadow = 1;
  CHECK_OK(vmem_mmu_set_state(mmu, &state));
  CHECK_OK(vmem_mmu_access(mmu, 0x400000, VMEM_LOAD, NULL));
  CHECK(counter(mmu, "walk_refs_host") == 4 && counter(mmu, "walk_refs_guest") == 0);
  memset(&state, 0, sizeof state);
  state.size = sizeof state;
  CHECK_OK(vmem_mmu_get_state(mmu, &state));
  CHECK(state.shadow == 1);
  CHECK_OK(vmem_mmu_destroy(mmu));
}

typedef struct served {
  vmem_mmu* mmu;
  uint64_t calls, last;
  int32_t answer;
} served;

static int32_t serve(void* user, uint64_t index, const vmem_result* fault) {
  served* of = user;
  ++of->calls;
  of->last = index;
  CHECK_STATUS(vmem_mmu_destroy(of->mmu), VMEM_E_BUSY);
  CHECK_OK(vmem_mmu_invlpg(of->mmu, fault->address)); /* an operating system may */
  if (of->answer == VMEM_RETRY) tables_map(&memory, fault->address & ~0xfffull, 0x8000, USER | WRITABLE);
  return of->answer;
}

static int32_t in_vain(void* user, uint64_t index, const vmem_result* fault) {
  (void)index, (void)fault;
  ++*(uint64_t*)user;
  return VMEM_RETRY;
}

static void test_batches(void) {
  tables_init(&memory);
  tables_map(&memory, 0x400000, 0x7000, USER | WRITABLE);
  vmem_mmu* mmu = new_mmu();
  uint64_t addresses[4] = {0x400008, 0x401008, 0x400010, 0x401010}, pas[4], done = 0, calls = 0;
  uint8_t kinds[4] = {VMEM_LOAD, VMEM_STORE, VMEM_STORE, VMEM_LOAD};
  served of = {mmu, 0, 0, VMEM_SKIP};

  CHECK_OK(vmem_mmu_access_batch(mmu, addresses, kinds, 4, pas, serve, &of, &done));
  CHECK(done == 4 && of.calls == 2 && of.last == 3);
  CHECK(pas[0] == 0x7008 && pas[1] == UINT64_MAX && pas[2] == 0x7010 && pas[3] == UINT64_MAX);
  of.answer = VMEM_HALT;
  CHECK_OK(vmem_mmu_access_batch(mmu, addresses, kinds, 4, NULL, serve, &of, &done));
  CHECK(done == 2 && of.calls == 3);
  CHECK_OK(vmem_mmu_access_batch(mmu, addresses, kinds, 4, NULL, NULL, NULL, &done));
  CHECK(done == 4);
  CHECK_STATUS(vmem_mmu_access_batch(mmu, addresses, kinds, 4, NULL, in_vain, &calls, &done), VMEM_E_CALLBACK);
  CHECK(done == 2 && calls == 65);
  of.answer = 17;
  CHECK_STATUS(vmem_mmu_access_batch(mmu, addresses, kinds, 4, pas, serve, &of, &done), VMEM_E_CALLBACK);
  of.answer = VMEM_RETRY;
  of.calls = 0;
  CHECK_OK(vmem_mmu_reset_counters(mmu));
  CHECK_OK(vmem_mmu_access_batch(mmu, addresses, kinds, 4, pas, serve, &of, &done));
  CHECK(done == 4 && of.calls == 1 && pas[1] == 0x8008 && pas[3] == 0x8010);
  CHECK(counter(mmu, "accesses") == 4 && counter(mmu, "stores") == 2);

  kinds[2] = 3;
  CHECK_STATUS(vmem_mmu_access_batch(mmu, addresses, kinds, 4, NULL, NULL, NULL, &done), VMEM_E_ARGUMENT);
  CHECK(done == 2 && counter(mmu, "accesses") == 6);
  CHECK_STATUS(vmem_mmu_access_batch(mmu, NULL, kinds, 4, NULL, NULL, NULL, &done), VMEM_E_ARGUMENT);
  CHECK_OK(vmem_mmu_access_batch(mmu, NULL, NULL, 0, NULL, NULL, NULL, NULL));
  CHECK_OK(vmem_mmu_destroy(mmu));
}

static void test_refusals(void) {
  vmem_mmu *mmu = new_mmu(), *other = (vmem_mmu*)&memory;
  vmem_host_config host_config;
  vmem_host* host = NULL;
  uint64_t value;
  VMEM_INIT(host_config);
  host_config.memory = 1 << 20;
  CHECK_OK(vmem_host_create(&host_config, &host));
  memset(&memory, 0, sizeof memory);
  CHECK_STATUS(vmem_mmu_flush(NULL), VMEM_E_HANDLE);
  CHECK_STATUS(vmem_mmu_flush((vmem_mmu*)host), VMEM_E_HANDLE);
  CHECK_STATUS(vmem_mmu_flush(other), VMEM_E_HANDLE);
  CHECK_STATUS(vmem_mmu_flush((vmem_mmu*)((char*)mmu + 1)), VMEM_E_HANDLE);
  CHECK_STATUS(vmem_host_check((vmem_host*)mmu), VMEM_E_HANDLE);
  CHECK_OK(vmem_host_destroy(host));
  CHECK_STATUS(vmem_mmu_counter(mmu, "no such", &value), VMEM_E_ARGUMENT);
  CHECK_STATUS(vmem_mmu_counter(mmu, NULL, &value), VMEM_E_ARGUMENT);
  CHECK_STATUS(vmem_mmu_counter(mmu, "accesses", NULL), VMEM_E_ARGUMENT);
  CHECK_STATUS(vmem_mmu_access(mmu, 0, 3, NULL), VMEM_E_ARGUMENT);
  CHECK_STATUS(vmem_mmu_invpcid(mmu, 4, 0, 0), VMEM_E_ARGUMENT);
  CHECK_STATUS(vmem_mmu_invvpid(mmu, 1, 0, 0), VMEM_E_ARGUMENT);
  CHECK_STATUS(vmem_mmu_invept(mmu, 0, 0), VMEM_E_ARGUMENT);
  CHECK_OK(vmem_mmu_destroy(mmu));
  CHECK_STATUS(vmem_mmu_flush(mmu), VMEM_E_HANDLE);
  CHECK_STATUS(vmem_mmu_destroy(mmu), VMEM_E_HANDLE);
  CHECK_OK(vmem_mmu_destroy(NULL));
}

/* What an older and a newer program hand over. */
static void test_versions(void) {
  struct {
    vmem_mmu_config config;
    uint64_t newer;
  } big;
  vmem_mmu* mmu = NULL;
  vmem_result result;
  memset(&big, 0, sizeof big);
  CHECK_STATUS(vmem_mmu_create(&big.config, &mmu), VMEM_E_STRUCTURE);
  CHECK(mmu == NULL);
  big.config.size = sizeof big;
  CHECK_OK(vmem_mmu_create(&big.config, &mmu));
  VMEM_INIT(result);
  result.size = 8;
  CHECK_STATUS(vmem_mmu_access(mmu, 0, 0, &result), VMEM_E_STRUCTURE);
  CHECK(strstr(vmem_last_error(), "result->size is 8") != NULL);
  CHECK_OK(vmem_mmu_destroy(mmu));
  big.newer = 1;
  CHECK_STATUS(vmem_mmu_create(&big.config, &mmu), VMEM_E_STRUCTURE);
  big.config.size = UINT32_MAX;
  CHECK_STATUS(vmem_mmu_create(&big.config, &mmu), VMEM_E_STRUCTURE);
  CHECK_STATUS(vmem_mmu_create(NULL, &mmu), VMEM_E_ARGUMENT);
  CHECK(vmem_abi_version() == VMEM_ABI_VERSION && strcmp(vmem_version(), VMEM_VERSION) == 0);
  CHECK(strcmp(vmem_counter_name(0), "accesses") == 0 && vmem_counter_name(1000) == NULL);
  CHECK(vmem_cpu_name(0) != NULL && vmem_cpu_name(1000) == NULL);
  CHECK(strcmp(vmem_status_name(99), "unknown") == 0);
}

int main(void) {
  test_accesses();
  test_two_dimensions();
  test_shadow_counts();
  test_batches();
  test_refusals();
  test_versions();
  return 0;
}
