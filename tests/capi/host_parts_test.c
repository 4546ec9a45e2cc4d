/* Files, host processes, areas, runs and ways of reclaim through the C interface. */
#include <stddef.h>

#include "check.h"

static vmem_host* host;

static uint32_t make_vm(uint32_t reclaim) {
  vmem_vm_config config;
  uint32_t vm = 0;
  VMEM_INIT(config);
  config.memory = 256 << 20;
  config.disk = 16 << 20;
  config.reclaim = reclaim;
  config.scan_ns = 100000000;
  CHECK_OK(vmem_vm_create(host, &config, &vm));
  return vm;
}

static uint64_t map(uint32_t vm, uint32_t process, uint64_t length, uint32_t file, uint32_t shared) {
  vmem_map_request request;
  uint64_t start = 0;
  VMEM_INIT(request);
  request.length = length;
  request.protection = VMEM_READ | VMEM_WRITE;
  request.file = file;
  request.shared = shared;
  CHECK_OK(vmem_process_mmap(host, vm, 0, process, &request, &start));
  return start;
}

static void files(void) {
  const uint32_t vm = make_vm(VMEM_RECLAIM_SWAP);
  uint32_t file = 0, process = 0;
  char bytes[16] = "on the disk";
  CHECK_OK(vmem_file_create(host, vm, "data", 1 << 20, &file));
  CHECK_OK(vmem_file_write(host, vm, 0, file, 5000, bytes, sizeof bytes));
  CHECK_OK(vmem_file_fsync(host, vm, 0, file));
  CHECK_OK(vmem_guest_drop_caches(host, vm));
  CHECK_OK(vmem_process_spawn(host, vm, NULL, &process));
  const uint64_t start = map(vm, process, 1 << 20, file, 1);
  memset(bytes, 0, sizeof bytes);
  CHECK_OK(vmem_process_read(host, vm, 0, process, start + 5000, bytes, sizeof bytes, NULL));
  CHECK(strcmp(bytes, "on the disk") == 0);
  CHECK_OK(vmem_process_write(host, vm, 0, process, start + 5000, "ON", 2, NULL));
  CHECK_OK(vmem_file_read(host, vm, 0, file, 5000, bytes, sizeof bytes));
  CHECK(strcmp(bytes, "ON the disk") == 0);
  CHECK_STATUS(vmem_file_unlink(host, vm, 0, file), VMEM_E_ARGUMENT);
  CHECK_OK(vmem_process_munmap(host, vm, 0, process, start, 1 << 20));
  CHECK_OK(vmem_file_unlink(host, vm, 0, file));
  CHECK_STATUS(vmem_file_read(host, vm, 0, file, 0, bytes, 1), VMEM_E_ARGUMENT);
  CHECK_STATUS(vmem_file_read(host, vm, 0, file, 0, NULL, 1), VMEM_E_ARGUMENT);
}

static void host_processes(void) {
  uint32_t process = 0;
  uint64_t bytes = 0;
  CHECK_OK(vmem_host_process_create(host, NULL, 10000, &process));
  CHECK_OK(vmem_host_counter(host, "processes", &bytes));
  CHECK(bytes == 12288);
  CHECK_STATUS(vmem_host_process_resize(host, process, (uint64_t)1 << 40), VMEM_E_MEMORY);
  CHECK_OK(vmem_host_process_resize(host, process, 4096));
  CHECK_OK(vmem_host_counter(host, "processes", &bytes));
  CHECK(bytes == 4096);
  CHECK_OK(vmem_host_process_exit(host, process));
  CHECK_STATUS(vmem_host_process_exit(host, process), VMEM_E_HANDLE);
}

/* Two VMs, one page of the same bytes in each. */
static void sharing(void) {
  uint32_t process[2];
  uint64_t start[2], frames = 0;
  for (int i = 0; i < 2; ++i) {
    const uint32_t vm = make_vm(VMEM_RECLAIM_SWAP);
    CHECK_OK(vmem_process_spawn(host, vm, NULL, &process[i]));
    start[i] = map(vm, process[i], 4096, 0, 0);
    CHECK_OK(vmem_process_write(host, vm, 0, process[i], start[i], "the same", 8, NULL));
  }
  CHECK_OK(vmem_host_share(host, &frames));
  CHECK(frames >= 1);
}

static void areas_and_runs(void) {
  const uint32_t vm = make_vm(VMEM_RECLAIM_SWAP);
  uint32_t process = 0;
  uint64_t accesses = 0;
  vmem_area area;
  vmem_summary summary;
  VMEM_INIT(area);
  VMEM_INIT(summary);
  CHECK_OK(vmem_process_spawn(host, vm, NULL, &process));
  CHECK_OK(vmem_process_area(host, vm, process, 0, &area));
  CHECK(area.start == 0 && area.end == 0);
  const uint64_t start = map(vm, process, 3 * 4096, 0, 0);
  CHECK_OK(vmem_process_mprotect(host, vm, 0, process, start + 4096, 4096, VMEM_READ));
  CHECK_OK(vmem_process_area(host, vm, process, 0, &area));
  CHECK(area.start == start && area.end == start + 4096 && area.protection == (VMEM_READ | VMEM_WRITE));
  CHECK_OK(vmem_process_area(host, vm, process, area.end, &area));
  CHECK(area.start == start + 4096 && area.end == start + 8192 && area.protection == VMEM_READ);
  CHECK_OK(vmem_process_area(host, vm, process, start + 3 * 4096, &area));
  CHECK(area.end == 0 && area.size == sizeof area);

  vmem_run runs[3] = {{0, 7, 0}, {0, 2, 5}, {0, 1, 0}};
  runs[0].page = start | VMEM_LOAD;
  runs[1].page = start | VMEM_STORE;
  runs[2].page = (start - (64 << 20)) | VMEM_LOAD;
  CHECK_OK(vmem_process_replay(host, vm, 0, process, runs, 3, &summary));
  CHECK(summary.done == 15 && summary.segfaults == 1);
  CHECK_OK(vmem_vm_counter(host, vm, "accesses", &accesses));
  CHECK(accesses == 15);
  runs[1].stores = 0;
  CHECK_STATUS(vmem_process_replay(host, vm, 0, process, runs, 3, &summary), VMEM_E_ARGUMENT);
  CHECK(summary.done == 7);
}

/* What a process gives up reaches the host; the guest says so, or (a scan) says nothing. */
static void ways_of_reclaim(void) {
  static const struct {
    uint32_t way;
    const char* counter;
  } ways[] = {{VMEM_RECLAIM_REPORTING, "free_reports"},
              {VMEM_RECLAIM_SCAN, "accesses"},
              {VMEM_RECLAIM_HYPERCALL, "free_hints"},
              {VMEM_RECLAIM_HYPERCALL_BATCHED, "free_hints"}};
  for (size_t i = 0; i < sizeof ways / sizeof ways[0]; ++i) {
    const uint32_t vm = make_vm(ways[i].way);
    uint32_t process = 0;
    uint64_t before = 0, after = 0, noticed = 0;
    CHECK_OK(vmem_process_spawn(host, vm, NULL, &process));
    const uint64_t start = map(vm, process, 64 << 20, 0, 0);
    for (uint64_t at = 0; at < 64 << 20; at += 4096)
      CHECK_OK(vmem_process_access(host, vm, 0, process, start + at, VMEM_STORE, NULL));
    CHECK_OK(vmem_vm_counter(host, vm, "resident", &before));
    CHECK_OK(vmem_process_exit(host, vm, 0, process));
    CHECK_OK(vmem_host_advance(host, 10000000000));
    CHECK_OK(vmem_vm_counter(host, vm, "resident", &after));
    CHECK_OK(vmem_vm_counter(host, vm, ways[i].counter, &noticed));

    CHECK(noticed > 0 && after < before - (8 << 20));
  }
  vmem_vm_config config;
  uint32_t vm = 0;
  VMEM_INIT(config);
  config.memory = 256 << 20;
  config.reclaim = 7;
  CHECK_STATUS(vmem_vm_create(host, &config, &vm), VMEM_E_ARGUMENT);
  /* As a program sends it that knew only the first version of the structure. */
  config.reclaim = 0;
  config.size = offsetof(vmem_vm_config, reclaim);
  CHECK_OK(vmem_vm_create(host, &config, &vm));
}

int main(void) {
  vmem_host_config config;
  VMEM_INIT(config);
  config.memory = 1 << 30;
  CHECK_OK(vmem_host_create(&config, &host));
  files();
  host_processes();
  sharing();
  areas_and_runs();
  ways_of_reclaim();
  CHECK_OK(vmem_host_check(host));
  CHECK_OK(vmem_host_destroy(host));
  return 0;
}
