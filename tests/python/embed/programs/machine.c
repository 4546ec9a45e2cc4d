/* machine MODE ADDRESSES KINDS: runs references, relative to a mapping of 64 MiB, in a VM; prints every counter. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <vmem/vmem.h>

static void* read_file(const char* path, size_t* length) {
  FILE* file = fopen(path, "rb");
  if (file == NULL) exit(2);
  fseek(file, 0, SEEK_END);
  *length = (size_t)ftell(file);
  rewind(file);
  void* bytes = malloc(*length);
  if (fread(bytes, 1, *length, file) != *length) exit(2);
  fclose(file);
  return bytes;
}

static void check(vmem_status status) {
  if (status == VMEM_OK) return;
  fprintf(stderr, "%s: %s\n", vmem_status_name(status), vmem_last_error());
  exit(1);
}

int main(int count, char** words) {
  size_t bytes = 0, references = 0;
  if (count != 4) return 2;
  uint64_t* addresses = read_file(words[2], &bytes);
  uint8_t* kinds = read_file(words[3], &references);

  vmem_host_config host_config;
  vmem_host* host = NULL;
  VMEM_INIT(host_config);
  host_config.memory = 256 << 20;
  host_config.cpu = "zen4";
  check(vmem_host_create(&host_config, &host));

  vmem_vm_config vm_config;
  uint32_t vm = 0, process = 0;
  VMEM_INIT(vm_config);
  vm_config.mode = (uint32_t)atoi(words[1]);
  vm_config.memory = 128 << 20;
  check(vmem_vm_create(host, &vm_config, &vm));
  check(vmem_process_spawn(host, vm, "program", &process));

  vmem_map_request request;
  uint64_t start = 0;
  VMEM_INIT(request);
  request.length = 64 << 20;
  request.protection = VMEM_READ | VMEM_WRITE | VMEM_EXECUTE;
  check(vmem_process_mmap(host, vm, 0, process, &request, &start));
  for (size_t i = 0; i < references; ++i) addresses[i] += start;

  vmem_summary summary;
  VMEM_INIT(summary);
  check(vmem_process_access_batch(host, vm, 0, process, addresses, kinds, references, &summary));
  printf("done %" PRIu64 "\nsegfaults %" PRIu64 "\n", summary.done, summary.segfaults);
  for (uint32_t i = 0; vmem_counter_name(i) != NULL; ++i) {
    uint64_t value = 0;
    check(vmem_vm_counter(host, vm, vmem_counter_name(i), &value));
    printf("%s %" PRIu64 "\n", vmem_counter_name(i), value);
  }
  uint64_t cycles = 0, now = 0;
  check(vmem_vm_counter(host, vm, "cycles", &cycles));
  check(vmem_host_now(host, &now));
  printf("cycles %" PRIu64 "\nnow %" PRIu64 "\n", cycles, now);
  check(vmem_host_check(host));
  check(vmem_host_destroy(host));
  free(addresses);
  free(kinds);
  return 0;
}
