// Random calls of a small, overcommitted host.
#include <algorithm>
#include <array>
#include <vector>

#include "random_world.hpp"

namespace vmem::test {
namespace {

void look_around(World& world) {
  constexpr const char* kVm[] = {"accesses", "cycles", "resident", "exits.io", "none"};
  constexpr const char* kGuest[] = {"MemFree", "Active(anon)", "pgfault", "balloon_inflate"};
  constexpr const char* kHost[] = {"free", "swapped_out", "committed", "none"};
  Source& source = world.source;
  std::uint64_t value = 0;
  std::uint64_t* const out = source.one_in(20) ? nullptr : &value;
  switch (source.upto(7)) {
    case 0:
      return world.tally.add(vmem_vm_counter(world.host, some_vm(world), source.pick(kVm), out));
    case 1:
      return world.tally.add(vmem_vcpu_counter(world.host, some_vm(world), some_vcpu(world), source.pick(kVm), out));
    case 2:
      return world.tally.add(vmem_guest_meminfo(world.host, some_vm(world), source.pick(kGuest), out));
    case 3:
      return world.tally.add(vmem_guest_vmstat(world.host, some_vm(world), source.pick(kGuest), out));
    case 4:
      return world.tally.add(vmem_host_counter(world.host, source.one_in(20) ? nullptr : source.pick(kHost), out));
    case 5:
      return world.tally.add(vmem_host_now(world.host, out));
    case 6:
      return world.tally.add(vmem_balloon_target(world.host, some_vm(world), out));
    default:
      return world.tally.add(vmem_balloon_actual(world.host, some_vm(world), out));
  }
}

void call_once(World& world);

std::int32_t policy(void* user, vmem_host*, std::uint64_t) {
  auto& world = *static_cast<World*>(user);
  if (world.source.one_in(3)) look_around(world);
  world.tally.add(vmem_balloon_set_target(world.host, some_vm(world), world.source.upto(40 << 20)));
  if (world.source.one_in(5)) call_once(world);  // refused, nearly always
  if (world.fails && world.source.one_in(20)) throw 3;
  return world.fails && world.source.one_in(20) ? 1 : 0;
}

std::int32_t on_event(void* user, vmem_host*, const vmem_event* event) {
  auto& world = *static_cast<World*>(user);
  CHECK(event->kind[0] != '\0');
  if (world.source.one_in(5)) call_once(world);
  return world.fails && world.source.one_in(10) ? -1 : 0;
}

void create_host(World& world) {
  Source& source = world.source;
  Roomy<vmem_host_config> roomy(source);
  vmem_host_config& config = roomy.it;
  config.memory = source.one_in(30) ? source.word() : (16 + source.upto(48)) << 20;
  config.swap = source.one_in(2) ? source.upto(64) << 20 : 0;
  if (source.one_in(30)) config.swap = source.word() & 0xffffff;
  if (source.one_in(30)) config.swap_dir = "/not/there";
  if (source.one_in(5)) config.khz = source.word();
  config.swap_read_ns = source.one_in(5) ? source.upto(1 << 30) : 0;
  config.esx_admission = source.one_in(4) ? 1 : 0;
  if (source.one_in(3)) config.cpus = source.small(source.one_in(9) ? ~0u : 3);
  if (source.one_in(5)) config.quantum_ns = source.upto(1 << 24);
  Roomy<vmem_cpu_config> processor(source);
  if (source.one_in(4)) config.processor = some_processor(source, processor.it);
  world.fails = source.one_in(3);
  world.tally.add(vmem_host_create(&config, &world.host));
}

void create_vm(World& world) {
  if (world.vms.size() >= 4) return;
  Source& source = world.source;
  Roomy<vmem_vm_config> roomy(source);
  vmem_vm_config& config = roomy.it;
  config.mode = source.small(source.one_in(20) ? 9 : 3);
  config.memory = source.one_in(20) ? source.word() : (8 + source.upto(40)) << 20;
  config.vcpus = source.one_in(20) ? source.small(300) : source.small(2);
  config.backing = source.small(source.one_in(20) ? 9 : 2);
  if (source.one_in(5)) config.cpu = vmem_cpu_name(source.small(9));
  config.shadow_sync = source.small(source.one_in(20) ? 9 : 2);
  config.direct_faults = source.one_in(4) ? 1 : 0;
  if (source.one_in(3)) config.shadow_pages = source.one_in(9) ? source.word() : source.upto(300);
  if (source.one_in(3)) config.software_tlb = source.small(source.one_in(9) ? ~0u : 64) * 4;
  if (source.one_in(5)) config.shares = source.one_in(9) ? ~0u : source.small(2000);
  if (source.one_in(5)) config.reservation = source.upto(8) << 20;
  if (source.one_in(5)) config.limit = source.upto(32) << 20;
  if (source.one_in(3)) config.disk = source.one_in(9) ? source.word() : source.upto(16) << 20;
  if (source.one_in(3)) config.swap = source.one_in(9) ? source.word() : source.upto(16) << 20;
  config.balloon = source.one_in(2) ? source.small(31) | 1 : 0;
  if (source.one_in(20)) config.balloon = source.small(255);
  if (source.one_in(3)) config.reclaim = source.small(source.one_in(20) ? 9 : 6);
  if (source.one_in(4)) config.on_free = source.small(source.one_in(20) ? 9 : 2);
  if (source.one_in(4)) config.scan_ns = source.one_in(9) ? source.word() : source.upto(1 << 28);
  config.scan_races = source.one_in(3) ? 1 : 0;
  Roomy<vmem_cpu_config> processor(source);
  if (source.one_in(4)) config.processor = some_processor(source, processor.it);
  std::uint32_t vm = 0;
  const vmem_status status = vmem_vm_create(world.host, &config, source.one_in(40) ? nullptr : &vm);
  world.tally.add(status);
  if (status == VMEM_OK || status == VMEM_E_CALLBACK) world.vms.push_back(vm);
}

void spawn_or_fork(World& world) {
  std::uint32_t process = 0;
  auto [vm, parent] = some_process(world);
  vmem_status status = VMEM_OK;
  if (world.processes.empty() || world.source.one_in(2)) {
    vm = some_vm(world);
    status = vmem_process_spawn(world.host, vm, world.source.one_in(2) ? nullptr : "program", &process);
  } else {
    std::uint32_t* const child = world.source.one_in(40) ? nullptr : &process;
    status = vmem_process_fork(world.host, vm, some_vcpu(world), parent, child);
  }
  world.tally.add(status);
  if (status == VMEM_OK) world.processes.emplace_back(vm, process);
}

void map(World& world) {
  Source& source = world.source;
  Roomy<vmem_map_request> roomy(source);
  vmem_map_request& request = roomy.it;
  request.length = source.one_in(20) ? source.word() : source.upto(8 << 20);
  request.protection = source.one_in(3) ? source.small(9) : VMEM_READ | VMEM_WRITE;
  request.page = source.small(source.one_in(20) ? 9 : 2);
  request.fixed = source.one_in(4) ? 1 : 0;
  if (source.one_in(5)) request.file = source.small(3);
  if (source.one_in(5)) request.shared = source.small(1);
  if (source.one_in(9)) request.offset = source.one_in(3) ? source.word() : source.upto(200) << 12;
  request.address = source.address(some_area(world).start & ~0xfffull, 0) & (source.one_in(9) ? ~0ull : ~0xfffull);
  const auto [vm, process] = some_process(world);
  std::uint64_t start = 0;
  const vmem_status status = vmem_process_mmap(world.host, vm, some_vcpu(world), process, &request, &start);
  world.tally.add(status);
  if (status == VMEM_OK) world.areas.push_back({start, request.length});
}

void change_areas(World& world) {
  Source& source = world.source;
  const auto [vm, process] = some_process(world);
  const Area area = some_area(world);
  const std::uint64_t start = source.one_in(3) ? source.address(area.start, area.length) & ~0xfffull : area.start;
  const std::uint64_t length = source.one_in(3) ? source.upto(area.length) : area.length;
  world.tally.add(source.one_in(2) ? vmem_process_munmap(world.host, vm, some_vcpu(world), process, start, length)
                                   : vmem_process_mprotect(world.host, vm, some_vcpu(world), process, start, length,
                                                           source.small(8)));
}

void move_bytes(World& world) {
  Source& source = world.source;
  std::array<char, 20000> bytes{};
  const auto [vm, process] = some_process(world);
  const Area area = some_area(world);
  const std::uint64_t start = source.address(area.start, area.length), length = source.upto(bytes.size());
  std::uint64_t at = 0;
  void* const buffer = source.one_in(40) ? nullptr : bytes.data();
  world.tally.add(source.one_in(2)
                      ? vmem_process_read(world.host, vm, some_vcpu(world), process, start, buffer, length, &at)
                      : vmem_process_write(world.host, vm, some_vcpu(world), process, start, buffer, length, nullptr));
}

void access(World& world) {
  Source& source = world.source;
  std::vector<std::uint64_t> addresses(source.upto(source.one_in(20) ? 70000 : 400)), hpas(addresses.size());
  std::vector<std::uint8_t> kinds(addresses.size());
  const auto [vm, process] = some_process(world);
  const Area area = some_area(world);
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    addresses[i] = source.address(area.start, area.length);
    kinds[i] = static_cast<std::uint8_t>(source.one_in(3000) ? source.word() : source.upto(2));
  }
  Roomy<vmem_summary> roomy(source);
  vmem_summary& summary = roomy.it;
  world.tally.add(vmem_process_access_batch(world.host, vm, some_vcpu(world), process, addresses.data(), kinds.data(),
                                            addresses.size(), source.one_in(5) ? nullptr : &summary));
  if (source.one_in(3))
    world.tally.add(vmem_process_translate(world.host, vm, some_vcpu(world), process, addresses.data(),
                                           addresses.size(), hpas.data()));
  world.tally.add(vmem_process_access(world.host, vm, some_vcpu(world), process,
                                      source.address(area.start, area.length), source.small(3), nullptr));
}

void end_something(World& world) {
  const auto [vm, process] = some_process(world);
  if (world.source.one_in(2)) {
    world.tally.add(vmem_process_exit(world.host, vm, some_vcpu(world), process));
    if (!world.source.one_in(5)) std::erase(world.processes, std::pair(vm, process));
  } else if (world.source.one_in(4)) {
    world.tally.add(vmem_vm_destroy(world.host, vm));
    if (!world.source.one_in(5)) std::erase(world.vms, vm);
    if (!world.source.one_in(5))
      std::erase_if(world.processes, [gone = vm](const auto& of) { return of.first == gone; });
  }
}

void use_files(World& world) {
  Source& source = world.source;
  std::array<char, 9000> bytes{};
  const std::uint32_t vm = some_vm(world), file = source.small(4);
  const std::uint64_t offset = source.one_in(9) ? source.word() : source.upto(1 << 20),
                      length = source.upto(bytes.size());
  switch (source.upto(6)) {
    case 0:
    case 1: {
      std::uint32_t made = 0;
      const char* const name = source.one_in(20) ? nullptr : "file";
      return world.tally.add(vmem_file_create(world.host, vm, name, source.one_in(9) ? source.word() : 1 << 20, &made));
    }
    case 2:
      return world.tally.add(vmem_file_unlink(world.host, vm, some_vcpu(world), file));
    case 3:
      return world.tally.add(vmem_file_read(world.host, vm, some_vcpu(world), file, offset, bytes.data(), length));
    case 4:
      return world.tally.add(vmem_file_write(world.host, vm, some_vcpu(world), file, offset, bytes.data(), length));
    case 5:
      return world.tally.add(vmem_file_fsync(world.host, vm, some_vcpu(world), file));
    default:
      return world.tally.add(vmem_guest_drop_caches(world.host, vm));
  }
}

void use_host_processes(World& world) {
  Source& source = world.source;
  std::uint32_t process = 0;
  switch (source.upto(3)) {
    case 0:
      return world.tally.add(vmem_host_process_create(world.host, source.one_in(2) ? nullptr : "backup",
                                                      source.one_in(9) ? source.word() : source.upto(8 << 20),
                                                      source.one_in(40) ? nullptr : &process));
    case 1:
      return world.tally.add(vmem_host_process_resize(world.host, source.small(3), source.upto(8 << 20)));
    case 2:
      return world.tally.add(vmem_host_process_exit(world.host, source.small(3)));
    default:
      return world.tally.add(vmem_host_share(world.host, nullptr));
  }
}

void replay(World& world) {
  Source& source = world.source;
  std::vector<vmem_run> runs(source.upto(200));
  const auto [vm, process] = some_process(world);
  const Area area = some_area(world);
  for (vmem_run& run : runs) {
    const std::uint32_t kind = source.small(2);
    run = {(source.address(area.start, area.length) & ~0xfffull) | kind, source.small(20), 0};
    run.loads += kind == VMEM_STORE ? 0 : 1;
    run.stores = kind == VMEM_STORE ? 1 + source.small(9) : 0;
    if (source.one_in(400)) run.stores = source.small(9);
  }
  world.tally.add(vmem_process_replay(world.host, vm, some_vcpu(world), process, runs.data(), runs.size(), nullptr));
  Roomy<vmem_area> roomy(source);
  world.tally.add(vmem_process_area(world.host, vm, process, source.address(area.start, area.length), &roomy.it));
}

void call_once(World& world) {
  Source& source = world.source;
  if (world.vms.empty()) create_vm(world);
  if (world.processes.empty()) spawn_or_fork(world);
  switch (source.upto(21)) {
    case 0:
      return create_vm(world);
    case 1:
    case 2:
      return spawn_or_fork(world);
    case 3:
    case 4:
      return map(world);
    case 5:
      return change_areas(world);
    case 6:
    case 7:
      return move_bytes(world);
    case 8:
    case 9:
    case 10:
      return access(world);
    case 11:
      return end_something(world);
    case 12:
      return world.tally.add(vmem_host_advance(world.host, source.one_in(50) ? ~0ull : source.upto(2'000'000'000)));
    case 14:
      return use_files(world);
    case 15:
      return use_host_processes(world);
    case 16:
      return replay(world);
    case 17:
    case 18:
      return start_something(world);
    case 19:
      return run_programs(world);
    case 20:
      return use_pages(world);
    case 13:
      world.tally.add(vmem_balloon_set_target(world.host, some_vm(world), source.upto(1 << 26)));
      return world.tally.add(vmem_vcpu_flush_tlb(world.host, some_vm(world), some_vcpu(world)));
    default:
      if (source.one_in(2)) return look_around(world);
      world.tally.add(
          vmem_host_set_policy(world.host, source.upto(1'000'000'000), source.one_in(2) ? nullptr : policy, &world));
      world.tally.add(vmem_host_on_event(world.host, source.one_in(2) ? nullptr : on_event, &world));
  }
}

}  // namespace

Tally make_host_calls(Source& source) {
  World world{source};
  for (int tries = 0; tries < 20 && world.host == nullptr; ++tries) create_host(world);
  for (int i = 0; i < 120 && !source.ended(); ++i) {
    call_once(world);
    if (i % 16 == 15) world.tally.add(vmem_host_check(world.host));
  }
  world.tally.add(vmem_host_check(world.host));
  vmem_host* const dead = world.host;
  world.tally.add(vmem_host_destroy(world.host));
  if (dead != nullptr) CHECK_STATUS(vmem_host_check(dead), VMEM_E_HANDLE);
  return world.tally;
}

Tally make_calls(Source& source) { return source.one_in(2) ? make_mmu_calls(source) : make_host_calls(source); }

}  // namespace vmem::test
