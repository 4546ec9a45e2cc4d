/* The whole machine through the C interface. C99. */
#include <string.h>

#include "check.h"

static vmem_host* new_host(uint64_t memory, uint64_t swap) {
  vmem_host_config config;
  vmem_host* host = NULL;
  VMEM_INIT(config);
  config.memory = memory;
  config.swap = swap;
  CHECK_OK(vmem_host_create(&config, &host));
  return host;
}

static uint32_t new_vm(vmem_host* host, uint32_t mode, uint64_t memory) {
  vmem_vm_config config;
  uint32_t vm = 0;
  VMEM_INIT(config);
  config.mode = mode;
  config.memory = memory;
  config.balloon = mode == VMEM_MODE_NATIVE ? 0 : VMEM_BALLOON;
  CHECK_OK(vmem_vm_create(host, &config, &vm));
  return vm;
}

static uint64_t map(vmem_host* host, uint32_t vm, uint32_t process, uint64_t length) {
  vmem_map_request request;
  uint64_t start = 0;
  VMEM_INIT(request);
  request.length = length;
  request.protection = VMEM_READ | VMEM_WRITE;
  request.name = "heap";
  CHECK_OK(vmem_process_mmap(host, vm, 0, process, &request, &start));
  return start;
}

static uint64_t vm_counter(vmem_host* host, uint32_t vm, const char* name) {
  uint64_t value = 0;
  CHECK_OK(vmem_vm_counter(host, vm, name, &value));
  return value;
}

static void test_bytes_in_every_mode(void) {
  vmem_host* host = new_host(256 << 20, 0);
  for (uint32_t mode = VMEM_MODE_NESTED; mode <= VMEM_MODE_SOFTWARE_TLB; ++mode) {
    const uint32_t vm = new_vm(host, mode, 32 << 20);
    uint32_t parent = 0, child = 0;
    char text[6] = "", across[8192];
    uint64_t at = 0, hpa = 0, now = 0;
    CHECK_OK(vmem_process_spawn(host, vm, "parent", &parent));
    const uint64_t heap = map(host, vm, parent, 1 << 20);
    CHECK_OK(vmem_process_write(host, vm, 0, parent, heap + 4094, "hello", 6, NULL));
    CHECK_OK(vmem_process_fork(host, vm, 0, parent, &child));
    CHECK_OK(vmem_process_write(host, vm, 0, child, heap + 4094, "child", 6, NULL));
    CHECK_OK(vmem_process_read(host, vm, 0, parent, heap + 4094, text, 6, NULL));
    CHECK(strcmp(text, "hello") == 0);
    CHECK_OK(vmem_process_read(host, vm, 0, child, heap + 4094, text, 6, NULL));
    CHECK(strcmp(text, "child") == 0);
    CHECK_STATUS(vmem_process_read(host, vm, 0, parent, heap + (1 << 20) - 4096, across, 8192, &at), VMEM_SEGFAULT);
    CHECK(at == heap + (1 << 20));
    CHECK_OK(vmem_process_translate(host, vm, 0, parent, &heap, 1, &hpa));
    CHECK(hpa < 256 << 20);
    CHECK_OK(vmem_process_access(host, vm, 0, parent, heap, VMEM_STORE, &at));
    CHECK(at % 4096 == 0);
    CHECK_STATUS(vmem_process_access(host, vm, 0, parent, 0, VMEM_LOAD, NULL), VMEM_SEGFAULT);
    CHECK(vm_counter(host, vm, "cycles") > 0 && vm_counter(host, vm, "resident") > 0);
    CHECK_OK(vmem_process_mprotect(host, vm, 0, parent, heap, 4096, VMEM_READ));
    CHECK_STATUS(vmem_process_write(host, vm, 0, parent, heap, "x", 1, NULL), VMEM_SEGFAULT);
    CHECK_OK(vmem_process_munmap(host, vm, 0, parent, heap, 1 << 20));
    CHECK_STATUS(vmem_process_read(host, vm, 0, parent, heap, text, 6, NULL), VMEM_SEGFAULT);
    CHECK_OK(vmem_process_exit(host, vm, 0, child));
    CHECK_STATUS(vmem_process_exit(host, vm, 0, child), VMEM_E_HANDLE);
    CHECK_OK(vmem_vcpu_flush_tlb(host, vm, 0));
    CHECK_OK(vmem_host_now(host, &now));
    CHECK(now > 0);
    CHECK_OK(vmem_host_check(host));
    CHECK_OK(vmem_vm_destroy(host, vm));
    CHECK_STATUS(vmem_vm_destroy(host, vm), VMEM_E_HANDLE);
  }
  CHECK_OK(vmem_host_destroy(host));
}

static void test_batches(void) {
  enum { COUNT = 100000 };
  static uint64_t addresses[COUNT];
  static uint8_t kinds[COUNT];
  vmem_host* host = new_host(128 << 20, 0);
  const uint32_t vm = new_vm(host, VMEM_MODE_NESTED, 64 << 20);
  uint32_t process = 0;
  vmem_summary summary;
  CHECK_OK(vmem_process_spawn(host, vm, NULL, &process));
  const uint64_t heap = map(host, vm, process, 16 << 20);
  for (uint64_t i = 0; i < COUNT; ++i) {
    addresses[i] = heap + i * 0x9e3779b97f4a7c15u % (16 << 20);
    kinds[i] = i % 4 == 0;
  }
  addresses[70000] = 0x123;
  VMEM_INIT(summary);
  CHECK_OK(vmem_process_access_batch(host, vm, 0, process, addresses, kinds, COUNT, &summary));
  CHECK(summary.done == COUNT && summary.segfaults == 1 && summary.first_segfault == 0x123 && !summary.stopped);
  CHECK(vm_counter(host, vm, "accesses") == COUNT && vm_counter(host, vm, "stores") == COUNT / 4);
  kinds[70000] = 9;
  CHECK_STATUS(vmem_process_access_batch(host, vm, 0, process, addresses, kinds, COUNT, &summary), VMEM_E_ARGUMENT);
  CHECK(summary.done == 70000 && vm_counter(host, vm, "accesses") == COUNT + 70000);
  CHECK_STATUS(vmem_process_access_batch(host, vm, 1, process, addresses, kinds, 1, NULL), VMEM_E_ARGUMENT);
  CHECK_STATUS(vmem_process_access_batch(host, vm + 1, 0, process, addresses, kinds, 1, NULL), VMEM_E_HANDLE);
  CHECK_STATUS(vmem_process_access_batch(host, vm, 0, process + 1, addresses, kinds, 1, NULL), VMEM_E_HANDLE);
  CHECK_STATUS(vmem_process_access_batch(host, vm, 0, process, NULL, kinds, 1, NULL), VMEM_E_ARGUMENT);
  CHECK_OK(vmem_host_destroy(host));
}

typedef struct watcher {
  uint32_t vm;
  uint64_t policies, events, targets, last;
  uint64_t fails_at;
} watcher;

static int32_t policy(void* user, vmem_host* host, uint64_t now) {
  watcher* of = user;
  uint64_t value = 0;
  uint32_t process;
  CHECK(now == of->last + 1000000000);
  of->last = now;
  CHECK_OK(vmem_guest_meminfo(host, of->vm, "MemFree", &value));
  CHECK_OK(vmem_balloon_set_target(host, of->vm, (48 << 20) - of->policies * (1 << 20)));
  CHECK_STATUS(vmem_process_spawn(host, of->vm, "x", &process), VMEM_E_BUSY);
  CHECK_STATUS(vmem_host_advance(host, 1), VMEM_E_BUSY);
  CHECK_STATUS(vmem_host_destroy(host), VMEM_E_BUSY);
  return ++of->policies == of->fails_at ? 1 : 0;
}

static int32_t on_event(void* user, vmem_host* host, const vmem_event* event) {
  watcher* of = user;
  uint64_t value;
  CHECK(event->size == sizeof *event);
  CHECK_OK(vmem_host_counter(host, "free", &value));
  CHECK_STATUS(vmem_balloon_set_target(host, of->vm, 1 << 20), VMEM_E_BUSY);
  ++of->events;
  if (strcmp(event->kind, "balloon_target") == 0) {
    CHECK(event->count == 1 && strcmp(event->names[0], "bytes") == 0 && strcmp(event->subject, "vm") == 0);
    CHECK(event->values[0] == (48 << 20) - of->targets++ * (1 << 20));
  }
  return of->events == of->fails_at ? -1 : 0;
}

static void test_policies_and_events(void) {
  vmem_host* host = new_host(256 << 20, 0);
  watcher of = {new_vm(host, VMEM_MODE_NESTED, 64 << 20), 0, 0, 0, 0, 0};
  uint64_t actual = 0, target = 0;
  CHECK_OK(vmem_host_on_event(host, on_event, &of));
  CHECK_OK(vmem_host_now(host, &of.last));
  CHECK_OK(vmem_host_set_policy(host, 1000000000, policy, &of));
  CHECK_OK(vmem_host_advance(host, 10000000000));
  CHECK(of.policies == 10 && of.targets == 10);
  CHECK_OK(vmem_balloon_target(host, of.vm, &target));
  CHECK(target == 39 << 20);
  CHECK_OK(vmem_host_set_policy(host, 0, NULL, NULL));
  CHECK_OK(vmem_host_advance(host, 10000000000));
  CHECK_OK(vmem_balloon_actual(host, of.vm, &actual));
  CHECK(of.policies == 10 && actual == target);

  /* A policy that fails stops time there; an event function too, and is told the rest another time. */
  of.fails_at = 11;
  of.events = of.targets = 0;
  of.policies = 10;
  CHECK_OK(vmem_host_on_event(host, NULL, NULL));
  CHECK_OK(vmem_host_now(host, &of.last));
  const uint64_t began = of.last;
  CHECK_OK(vmem_host_set_policy(host, 1000000000, policy, &of));
  CHECK_STATUS(vmem_host_advance(host, 10000000000), VMEM_E_CALLBACK);
  CHECK_OK(vmem_host_now(host, &actual));
  CHECK(of.policies == 11 && actual == began + 1000000000);
  CHECK_OK(vmem_host_set_policy(host, 0, NULL, NULL));
  of.fails_at = 1;
  CHECK_OK(vmem_host_on_event(host, on_event, &of));
  CHECK_STATUS(vmem_balloon_set_target(host, of.vm, 48 << 20), VMEM_E_CALLBACK);
  CHECK(of.events == 1);
  CHECK_OK(vmem_balloon_set_target(host, of.vm, 47 << 20));
  CHECK(of.events == 2 && of.targets == 2);
  CHECK_OK(vmem_host_check(host));
  CHECK_STATUS(vmem_host_set_policy(host, 0, policy, &of), VMEM_E_ARGUMENT);
  CHECK_OK(vmem_host_destroy(host));
}

static void test_overcommit(void) {
  vmem_host* host = new_host(64 << 20, 256 << 20);
  static char page[1 << 20];
  uint64_t value = 0;
  for (int i = 0; i < 3; ++i) {
    const uint32_t vm = new_vm(host, VMEM_MODE_NESTED, 48 << 20);
    uint32_t process = 0;
    CHECK_OK(vmem_process_spawn(host, vm, NULL, &process));
    const uint64_t heap = map(host, vm, process, 24 << 20);
    memset(page, 'a' + i, sizeof page);
    for (uint64_t part = 0; part < 24; ++part)
      CHECK_OK(vmem_process_write(host, vm, 0, process, heap + (part << 20), page, sizeof page, NULL));
  }
  CHECK_OK(vmem_host_counter(host, "swapped_out", &value));
  CHECK(value > 0);
  CHECK_STATUS(vmem_host_counter(host, "nothing", &value), VMEM_E_ARGUMENT);
  CHECK_OK(vmem_guest_vmstat(host, 0, "pgfault", &value));
  CHECK(value >= 24 * 256);
  CHECK_OK(vmem_host_check(host));
  CHECK_OK(vmem_host_destroy(host));
}

static void test_refusals(void) {
  vmem_host_config config;
  vmem_vm_config vm_config;
  vmem_host* host = NULL;
  uint32_t vm;
  VMEM_INIT(config);
  CHECK_STATUS(vmem_host_create(&config, &host), VMEM_E_ARGUMENT);
  config.memory = 1 << 30;
  config.cpu = "z80";
  CHECK_STATUS(vmem_host_create(&config, &host), VMEM_E_ARGUMENT);
  CHECK(strstr(vmem_last_error(), "skylake-sp") != NULL && host == NULL);
  config.cpu = NULL;
  config.swap = 1 << 20;
  config.swap_dir = "/nowhere/at/all";
  CHECK_STATUS(vmem_host_create(&config, &host), VMEM_E_ARGUMENT);
  config.swap = 0;
  CHECK_OK(vmem_host_create(&config, &host));
  VMEM_INIT(vm_config);
  CHECK_STATUS(vmem_vm_create(host, &vm_config, &vm), VMEM_E_ARGUMENT);
  vm_config.memory = 4096;
  CHECK_STATUS(vmem_vm_create(host, &vm_config, &vm), VMEM_E_ARGUMENT);
  vm_config.memory = 64 << 20;
  vm_config.mode = 4;
  CHECK_STATUS(vmem_vm_create(host, &vm_config, &vm), VMEM_E_ARGUMENT);
  vm_config.mode = VMEM_MODE_NATIVE;
  vm_config.memory = 2ull << 30;
  CHECK_STATUS(vmem_vm_create(host, &vm_config, &vm), VMEM_E_ARGUMENT);
  CHECK_STATUS(vmem_balloon_set_target(host, 0, 0), VMEM_E_HANDLE);
  CHECK_OK(vmem_host_check(host));
  CHECK_OK(vmem_host_destroy(host));
  CHECK_STATUS(vmem_host_check(host), VMEM_E_HANDLE);
}

int main(void) {
  test_bytes_in_every_mode();
  test_batches();
  test_policies_and_events();
  test_overcommit();
  test_refusals();
  return 0;
}
