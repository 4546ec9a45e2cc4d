// Ten machines on ten threads give what ten machines alone give: nothing is shared between them.
#include <array>
#include <thread>
#include <vector>

#include "check.h"

namespace {

constexpr std::size_t kMachines = 10;
using Results = std::vector<std::uint64_t>;

std::uint64_t next(std::uint64_t& random) {
  random = random * 6364136223846793005u + 1442695040888963407u;
  return random >> 20;
}

void append_counters(vmem_host* host, std::uint32_t vm, Results& results) {
  std::uint64_t value = 0;
  for (std::uint32_t i = 0; vmem_counter_name(i) != nullptr; ++i) {
    CHECK_OK(vmem_vm_counter(host, vm, vmem_counter_name(i), &value));
    results.push_back(value);
  }
  for (const char* name : {"cycles", "resident", "swapped"}) {
    CHECK_OK(vmem_vm_counter(host, vm, name, &value));
    results.push_back(value);
  }
}

/// A process that touches more than the host has, in a VM of one of the modes.
void run_vm(vmem_host* host, std::size_t number, std::uint32_t mode, Results& results) {
  vmem_vm_config config;
  VMEM_INIT(config);
  config.mode = mode;
  config.memory = 24 << 20;
  std::uint32_t vm = 0, process = 0;
  CHECK_OK(vmem_vm_create(host, &config, &vm));
  CHECK_OK(vmem_process_spawn(host, vm, nullptr, &process));
  vmem_map_request request;
  VMEM_INIT(request);
  request.length = 12 << 20;
  request.protection = VMEM_READ | VMEM_WRITE;
  std::uint64_t start = 0, random = number + 1;
  CHECK_OK(vmem_process_mmap(host, vm, 0, process, &request, &start));
  std::vector<std::uint64_t> addresses(5000);
  std::vector<std::uint8_t> kinds(addresses.size());
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    addresses[i] = start + next(random) % request.length;
    kinds[i] = next(random) % 3 == 0 ? VMEM_STORE : VMEM_LOAD;
  }
  CHECK_OK(vmem_process_access_batch(host, vm, 0, process, addresses.data(), kinds.data(), addresses.size(), nullptr));
  append_counters(host, vm, results);
}

int count_event(void* user, vmem_host*, const vmem_event*) {
  ++*static_cast<std::uint64_t*>(user);
  return 0;
}

Results run_host(std::size_t number) {
  vmem_host_config config;
  VMEM_INIT(config);
  config.memory = 32 << 20;
  config.swap = 128 << 20;
  config.seed = number + 1;
  vmem_host* host = nullptr;
  std::uint64_t events = 0, now = 0;
  CHECK_OK(vmem_host_create(&config, &host));
  CHECK_OK(vmem_host_on_event(host, count_event, &events));
  Results results;
  for (const std::uint32_t mode : {VMEM_MODE_NESTED, VMEM_MODE_SHADOW, VMEM_MODE_SOFTWARE_TLB})
    run_vm(host, number, mode, results);
  CHECK_OK(vmem_host_advance(host, 3'000'000'000));
  CHECK_OK(vmem_host_now(host, &now));
  results.push_back(events);
  results.push_back(now);
  CHECK_OK(vmem_host_check(host));
  CHECK_OK(vmem_host_destroy(host));
  CHECK_STATUS(vmem_host_check(host), VMEM_E_HANDLE);
  CHECK(vmem_last_error()[0] != '\0');
  return results;
}

Results run_mmu(std::size_t number) {
  std::vector<std::uint64_t> memory(1 << 16);
  std::uint64_t random = number + 77;
  vmem_mmu_config config;
  VMEM_INIT(config);
  config.memory = memory.data();
  config.memory_bytes = memory.size() * 8;
  vmem_mmu* mmu = nullptr;
  CHECK_OK(vmem_mmu_create(&config, &mmu));
  for (std::uint64_t& entry : memory) entry = (next(random) % (memory.size() / 512) << 12) | (next(random) % 256 | 1);
  Results results;
  for (int i = 0; i < 5000; ++i) {
    vmem_result result;
    VMEM_INIT(result);
    CHECK(vmem_mmu_access(mmu, next(random) % (1ull << 47), static_cast<std::uint32_t>(next(random) % 3), &result) >=
          0);
    results.push_back(result.pa + result.error_code);
  }
  CHECK_OK(vmem_mmu_destroy(mmu));
  return results;
}

}  // namespace

int main() {
  for (auto* const run : {&run_host, &run_mmu}) {
    std::array<Results, kMachines> alone, together;
    for (std::size_t i = 0; i < kMachines; ++i) alone[i] = run(i);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < kMachines; ++i) threads.emplace_back([&, i] { together[i] = run(i); });
    for (std::thread& thread : threads) thread.join();
    for (std::size_t i = 0; i < kMachines; ++i) CHECK(alone[i] == together[i]);
    CHECK(alone[0] != alone[1]);
  }
  return 0;
}
