/* Programs over time and processors as data, as a C99 program of today and of yesterday uses them. */
#include <stddef.h>

#include "check.h"

static vmem_host* host;

static uint32_t make_vm(void) {
  vmem_vm_config config;
  uint32_t vm = 0;
  VMEM_INIT(config);
  config.memory = 64 << 20;
  CHECK_OK(vmem_vm_create(host, &config, &vm));
  return vm;
}

static uint32_t spawn(uint32_t vm) {
  uint32_t process = 0;
  CHECK_OK(vmem_process_spawn(host, vm, "program", &process));
  return process;
}

static vmem_program_state state_of(uint64_t program) {
  vmem_program_state state;
  VMEM_INIT(state);
  CHECK_OK(vmem_program_get_state(host, program, &state));
  return state;
}

static void make_host(void) {
  vmem_host_config config;
  VMEM_INIT(config);
  config.memory = 256 << 20;
  config.cpus = 1;
  CHECK_OK(vmem_host_create(&config, &host));
}

/* A program that was compiled before there were processors as data: what lies behind its structures is not looked at.
 */
static void structures_of_yesterday(void) {
  vmem_host_config config;
  vmem_vm_config vm_config;
  vmem_mmu_config mmu_config;
  vmem_mmu* mmu = NULL;
  uint32_t vm = 0;
  memset(&config, 0xff, sizeof config);
  memset(&config, 0, offsetof(vmem_host_config, processor));
  config.size = offsetof(vmem_host_config, processor);
  config.memory = 256 << 20;
  CHECK_OK(vmem_host_create(&config, &host));
  memset(&vm_config, 0xff, sizeof vm_config);
  memset(&vm_config, 0, offsetof(vmem_vm_config, processor));
  vm_config.size = offsetof(vmem_vm_config, processor);
  vm_config.memory = 64 << 20;
  CHECK_OK(vmem_vm_create(host, &vm_config, &vm));
  CHECK_OK(vmem_host_destroy(host));
  memset(&mmu_config, 0xff, sizeof mmu_config);
  memset(&mmu_config, 0, offsetof(vmem_mmu_config, processor));
  mmu_config.size = offsetof(vmem_mmu_config, processor);
  CHECK_OK(vmem_mmu_create(&mmu_config, &mmu));
  CHECK_OK(vmem_mmu_destroy(mmu));
  config.size = offsetof(vmem_host_config, processor) - 1;
  CHECK_STATUS(vmem_host_create(&config, &host), VMEM_E_STRUCTURE);
  /* Half a pointer. */
  config.size = offsetof(vmem_host_config, processor) + 4;
  CHECK_STATUS(vmem_host_create(&config, &host), VMEM_E_STRUCTURE);
}

static void workloads(void) {
  const uint32_t vm = make_vm();
  uint64_t programs[VMEM_WORKLOAD_DEMAND + 1];
  uint32_t ended = 77;
  const vmem_demand_point curve[] = {{0, 1 << 20, 4096}, {5000000, 4 << 20, 4096}};
  for (uint32_t kind = 0; kind <= VMEM_WORKLOAD_DEMAND; ++kind) {
    vmem_workload workload;
    VMEM_INIT(workload);
    workload.kind = kind;
    if (kind == VMEM_WORKLOAD_DEMAND) {
      workload.curve = curve;
      workload.points = 2;
    } else {
      workload.bytes = 1 << 20;
      workload.references = 1000;
    }
    if (kind == VMEM_WORKLOAD_HOT_COLD) workload.hot = 4096;
    if (kind == VMEM_WORKLOAD_FORK_CHURN) workload.children = 2;
    CHECK_OK(vmem_process_start(host, vm, 0, spawn(vm), &workload, &programs[kind]));
  }
  CHECK_OK(vmem_host_run(host, 200000000, 0, &ended));
  CHECK(ended == VMEM_END_TIME);
  for (uint32_t kind = 0; kind <= VMEM_WORKLOAD_DEMAND; ++kind) {
    const vmem_program_state state = state_of(programs[kind]);
    CHECK(state.references >= 1000 && state.segfaults == 0 && state.stopped == NULL && state.times == 1);
    CHECK(state.ended == (kind != VMEM_WORKLOAD_DEMAND));
    CHECK(state.bursts == (kind == VMEM_WORKLOAD_DEMAND ? 2u : 0u));
  }
  CHECK_OK(vmem_vm_destroy(host, vm));
  CHECK_OK(vmem_host_run(host, 1000, 0, &ended));
  CHECK(ended == VMEM_END_PROGRAMS);
}

struct given {
  vmem_run runs[2];
  uint64_t asked;
  uint64_t fails_at;
};

static int32_t give(void* user, vmem_host* of, uint64_t number, vmem_trace_item* item) {
  struct given* const given = user;
  uint64_t now = 0;
  CHECK(of == host && item->kind == VMEM_ITEM_END && item->size == sizeof *item);
  CHECK_OK(vmem_host_now(of, &now));
  CHECK_STATUS(vmem_host_run(of, 1, 0, NULL), VMEM_E_BUSY);
  ++given->asked;
  if (number == given->fails_at) return 1;
  if (number == 0) {
    item->kind = VMEM_ITEM_MMAP;
    item->start = 0x10000000;
    item->length = 8192;
    item->protection = VMEM_READ | VMEM_WRITE;
  } else if (number < 3) {
    item->kind = VMEM_ITEM_RUNS;
    item->runs = given->runs;
    item->count = 2;
  }
  return 0;
}

static void traces(void) {
  const uint32_t vm = make_vm();
  struct given given = {{{0x10000000 | VMEM_STORE, 3, 2}, {0x10001000, 4, 0}}, 0, 2};
  vmem_trace trace;
  uint64_t program = 0, costs = 0, picoseconds[2], references[2];
  uint32_t ended = 0;
  VMEM_INIT(trace);
  trace.next = give;
  trace.user = &given;
  trace.times = 2;
  CHECK_OK(vmem_process_start_trace(host, vm, 0, spawn(vm), &trace, &program));
  CHECK_STATUS(vmem_host_run(host, 1000000000, 0, &ended), VMEM_E_CALLBACK);
  CHECK(strstr(vmem_last_error(), "item 2 of a trace") != NULL && state_of(program).references == 9);
  given.fails_at = 77;
  CHECK_OK(vmem_host_run(host, 1000000000, 0, &ended));
  CHECK(ended == VMEM_END_PROGRAMS && given.asked == 9);
  CHECK(state_of(program).references == 36 && state_of(program).times == 2);
  /* No more than there is room for. */
  picoseconds[1] = references[1] = 7;
  CHECK_OK(vmem_program_costs(host, program, picoseconds, references, 1, &costs));
  CHECK(costs > 1 && references[0] > 0 && picoseconds[1] == 7 && references[1] == 7);
  CHECK_OK(vmem_host_check(host));
}

int main(void) {
  structures_of_yesterday();
  make_host();
  workloads();
  traces();
  CHECK_OK(vmem_host_check(host));
  CHECK_OK(vmem_host_destroy(host));
  return 0;
}
