// Files, host processes, runs and a way of reclaim, in C++. Prints what test_parts.py compares with Python's.
#include <iostream>
#include <string>
#include <vector>
#include <vmem/host.hpp>

int main() {
  vmem::Host host(1ull << 30, 1ull << 30);
  auto config = vmem::structure<vmem_vm_config>();
  config.memory = 256 << 20;
  config.disk = 64 << 20;
  config.reclaim = VMEM_RECLAIM_HYPERCALL_BATCHED;
  config.on_free = VMEM_ON_FREE_ZERO;
  vmem::Vm vm = host.create_vm(config);
  vmem::HostProcess backup = host.create_process("backup", 100 << 20);
  vmem::Process process = vm.spawn("program");

  vmem::File file = vm.create_file("data", 8 << 20);
  const std::string text = "written by a system call";
  file.write(4090, std::as_bytes(std::span(text)));
  file.fsync();
  vm.drop_caches();
  auto request = vmem::structure<vmem_map_request>();
  request.length = 8 << 20;
  request.protection = VMEM_READ;
  request.file = file.number();
  const std::uint64_t mapped = process.mmap(request);
  std::string found(text.size(), ' ');
  process.read(mapped + 4090, std::as_writable_bytes(std::span(found)));
  if (found != text) return 1;
  try {
    file.unlink();
    return 2;
  } catch (const vmem::Error&) {
  }

  const std::uint64_t heap = process.mmap(32 << 20);
  if (process.area(heap).end != heap + (32 << 20)) return 3;
  std::vector<vmem_run> runs;
  for (std::uint64_t page = 0; page < 8192; ++page) {
    runs.push_back({heap + page * 4096 + VMEM_LOAD, 3, 0});
    runs.push_back({heap + page * 7919 % 8192 * 4096 + VMEM_STORE, 1, 4});
  }
  const vmem_summary summary = process.replay(runs);
  process.munmap(heap, 32 << 20);
  backup.resize(50 << 20);
  host.advance(5'000'000'000);
  backup.exit();
  host.check();
  std::cout << "done " << summary.done << "\nsegfaults " << summary.segfaults << "\nnow " << host.now() << "\nresident "
            << vm.counter("resident") << '\n';
  for (std::uint32_t i = 0; vmem_counter_name(i) != nullptr; ++i)
    std::cout << vmem_counter_name(i) << ' ' << vm.counter(vmem_counter_name(i)) << '\n';
}
