// Programs over time, advice and single pages in C++. Prints what test_over_time_programs.py compares with Python's.
#include <array>
#include <iostream>
#include <vector>
#include <vmem/host.hpp>

int main() {
  auto cpu = vmem::structure<vmem_cpu_config>();
  vmem::checked(vmem_cpu_preset("zen3", &cpu));
  cpu.psc = {};
  auto config = vmem::structure<vmem_host_config>();
  config.memory = 256 << 20;
  config.swap = 64 << 20;
  config.processor = &cpu;
  config.cpus = 1;
  vmem::Host host(config);
  vmem::Vm vm = host.create_vm(64 << 20);
  vmem::Process process = vm.spawn("program");
  const std::uint64_t heap = process.mmap(8 << 20);
  process.madvise(heap, 8 << 20, VMEM_HUGEPAGE);
  if (process.brk() == 0) return 1;

  auto zipf = vmem::structure<vmem_workload>();
  zipf.kind = VMEM_WORKLOAD_ZIPF;
  zipf.bytes = 32 << 20;
  zipf.references = 100'000;
  zipf.writes = 0.25;
  vmem::Program program = process.start(zipf);
  const std::array<vmem_trace_area, 1> areas{{{0x10000000, 4096 * 1000, VMEM_READ | VMEM_WRITE, 0}}};
  std::vector<vmem_run> runs;
  for (std::uint64_t i = 0; i < 20'000; ++i) runs.push_back({0x10000000 + i * 7 % 1000 * 4096 + VMEM_STORE, 2, 3});
  auto trace = vmem::structure<vmem_trace>();
  trace.runs = runs.data();
  trace.run_count = runs.size();
  trace.areas = areas.data();
  trace.area_count = areas.size();
  vmem::Program replayed = vm.spawn("replayed").start(trace);

  vm.set_paused(true);
  if (host.run(1'000'000) != VMEM_END_TIME || vm.time().references != 0) return 2;
  vm.set_paused(false);
  std::cout << "ended " << host.run(60'000'000'000, 120'000) << '\n';
  std::cout << "swapped_out " << vm.swap_out(16 << 20) << "\nsplit " << vm.split(16 << 20) << "\ncollapse "
            << vm.collapse(16 << 20) << '\n';
  std::cout << "ended_then " << host.run(60'000'000'000) << '\n';
  std::uint64_t number = 0;
  for (const vmem::Program& of : {program, replayed}) {
    const vmem_program_state state = of.state();
    std::uint64_t costs = 0;
    for (const auto& [picoseconds, references] : of.costs()) costs += picoseconds * references;
    std::cout << "references" << number << ' ' << state.references << "\nprogressed" << number << ' '
              << state.progressed_at << "\ncosts" << number << ' ' << costs << '\n';
    ++number;
  }
  const vmem_vm_time time = vm.time();
  std::cout << "running " << time.running << "\nwaiting " << time.waiting << "\nrunnable " << time.runnable << "\nnow "
            << host.now() << '\n';
  for (std::uint32_t i = 0; vmem_counter_name(i) != nullptr; ++i)
    std::cout << vmem_counter_name(i) << ' ' << vm.counter(vmem_counter_name(i)) << '\n';
  host.check();
}
