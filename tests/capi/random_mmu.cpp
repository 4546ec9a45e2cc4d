// Random calls of an MMU over tables of garbage, with callbacks that fail and lie.
#include <algorithm>
#include <array>

#include "random_calls.hpp"

namespace vmem::test {
namespace {

constexpr std::uint64_t kWords = 8 * 512;

struct World {
  Source& source;
  std::array<std::uint64_t, kWords> memory{};
  vmem_mmu* mmu = nullptr;
  Tally tally{};
  bool fails = false;
};

std::uint64_t garbage_entry(Source& source) {
  const std::uint64_t flags = source.word() & 0x1ff;
  const std::uint64_t table = source.upto(kWords / 512 * 2) << 12;
  return source.one_in(10) ? source.word() << 8 | source.word() : table | flags | (source.one_in(4) ? 0 : 7);
}

std::int32_t read_entry(void* user, std::uint64_t pa, std::uint64_t* value) {
  auto& world = *static_cast<World*>(user);
  if (world.source.one_in(50)) world.tally.add(vmem_mmu_flush(world.mmu));
  if (world.fails && world.source.one_in(10)) throw 7;  // a C++ callback that knows no better
  if (world.fails && world.source.one_in(10)) return static_cast<std::int32_t>(world.source.word());
  if (!world.source.one_in(20)) *value = pa / 8 < kWords ? world.memory[pa / 8] : garbage_entry(world.source);
  return 0;
}

std::int32_t write_entry(void* user, std::uint64_t pa, std::uint64_t value) {
  auto& world = *static_cast<World*>(user);
  if (pa / 8 < kWords) world.memory[pa / 8] = value;
  return world.fails && world.source.one_in(10) ? -1 : 0;
}

void call_once(World& world);

std::int32_t on_fault(void* user, std::uint64_t, const vmem_result* fault) {
  auto& world = *static_cast<World*>(user);
  CHECK(fault->fault != VMEM_NO_FAULT);
  if (world.source.one_in(8)) call_once(world);
  if (world.source.one_in(8)) world.memory[world.source.upto(kWords - 1)] = garbage_entry(world.source);
  return static_cast<std::int32_t>(world.source.upto(3)) - (world.source.one_in(9) ? 2 : 0);
}

void create(World& world) {
  Source& source = world.source;
  Roomy<vmem_mmu_config> roomy(source);
  vmem_mmu_config& config = roomy.it;
  if (source.one_in(3)) config.cpu = vmem_cpu_name(source.small(7));
  if (source.one_in(20)) config.cpu = "nobody's";
  if (!source.one_in(3)) {
    config.memory = world.memory.data();
    config.memory_bytes = source.one_in(20) ? source.word() : source.upto(kWords / 512) * 4096;
  }
  if (source.one_in(2)) config.read = read_entry;
  if (source.one_in(2)) config.write = write_entry;
  config.user = &world;
  if (source.one_in(4)) config.maxphyaddr = source.small(60);
  if (source.one_in(4)) config.l1d = {source.small(70), source.small(9)};
  if (source.one_in(4)) config.l2 = {source.small(70), source.small(9)};
  if (source.one_in(4)) config.guest_levels = source.small(6);
  if (source.one_in(4)) config.host_levels = source.small(6);
  Roomy<vmem_cpu_config> processor(source);
  if (source.one_in(4)) config.processor = some_processor(source, processor.it);
  config.no_psc = source.small(1);
  config.no_nested_tlb = source.small(1);
  config.no_one_gib_pages = source.small(1);
  world.fails = source.one_in(4);
  // A flat memory that is not there is beyond what can be checked.
  if (config.memory_bytes <= sizeof world.memory || config.memory_bytes % 4096 != 0)
    world.tally.add(vmem_mmu_create(&config, &world.mmu));
}

void set_state(World& world) {
  Source& source = world.source;
  Roomy<vmem_mmu_state> roomy(source);
  vmem_mmu_state& state = roomy.it;
  world.tally.add(vmem_mmu_get_state(world.mmu, &state));
  const auto root = [&] { return source.upto(kWords / 512) << 12; };
  if (source.one_in(2)) state.cr3 = root() | (source.one_in(2) ? source.upto(4095) : 0);
  if (source.one_in(3)) state.cr4 = 1u << 5 | (source.word() & 0x771080);
  if (source.one_in(10)) state.cr0 = source.word();
  if (source.one_in(3)) state.cr0 = 0x80000001 | source.upto(1) << 16;
  if (source.one_in(20)) state.efer = source.word() & 0xfff;
  state.cpl = source.one_in(20) ? source.small(9) : source.small(1) * 3;
  state.ac = source.one_in(20) ? 2 : source.small(1);
  state.pkru = source.one_in(3) ? static_cast<std::uint32_t>(source.word()) : 0;
  state.vpid = source.one_in(20) ? source.small(99999) : source.small(2);
  state.eptp = source.one_in(3) ? root() | (source.one_in(9) ? source.upto(127) : 0x5e) : 0;
  state.ncr3 = source.one_in(4) ? root() : 0;
  state.shadow = source.small(1);
  world.tally.add(vmem_mmu_set_state(world.mmu, &state));
}

void access_batch(World& world) {
  Source& source = world.source;
  std::array<std::uint64_t, 40> addresses{}, pas{};
  std::array<std::uint8_t, 40> kinds{};
  const std::size_t count = source.upto(addresses.size());
  for (std::size_t i = 0; i < count; ++i) {
    addresses[i] = source.address(source.upto(3) << 39, 1 << 24);
    kinds[i] = static_cast<std::uint8_t>(source.one_in(200) ? source.word() : source.upto(2));
  }
  std::uint64_t done = 0;
  world.tally.add(vmem_mmu_access_batch(world.mmu, source.one_in(30) ? nullptr : addresses.data(), kinds.data(), count,
                                        source.one_in(2) ? pas.data() : nullptr, source.one_in(3) ? nullptr : on_fault,
                                        &world, source.one_in(3) ? nullptr : &done));
  CHECK(done <= count);
}

void access(World& world, decltype(&vmem_mmu_access) how) {
  Roomy<vmem_result> roomy(world.source);
  vmem_result& result = roomy.it;
  const std::uint64_t va = world.source.address(world.source.upto(3) << 39, 1 << 24);
  world.tally.add(how(world.mmu, va, world.source.small(world.source.one_in(20) ? 9 : 2),
                      world.source.one_in(4) ? nullptr : &result));
}

void call_once(World& world) {
  Source& source = world.source;
  std::uint64_t value = 0;
  switch (source.upto(13)) {
    case 0:
      return set_state(world);
    case 1:
    case 2:
      return access_batch(world);
    case 3:
    case 4:
      return access(world, vmem_mmu_access);
    case 5:
      return access(world, vmem_mmu_probe);
    case 6:
      return world.tally.add(vmem_mmu_invlpg(world.mmu, source.address(0, 1 << 24)));
    case 7:
      return world.tally.add(
          vmem_mmu_invpcid(world.mmu, source.small(5), source.small(5000), source.address(0, 1 << 24)));
    case 8:
      return world.tally.add(vmem_mmu_invvpid(world.mmu, source.small(5), source.small(3), source.address(0, 1 << 24)));
    case 9:
      return world.tally.add(vmem_mmu_invept(world.mmu, source.small(3), source.word()));
    case 10:
      return world.tally.add(vmem_mmu_mov_cr3(world.mmu, source.upto(kWords / 512) << 12 | source.upto(1) << 63));
    case 11:
      return world.tally.add(vmem_mmu_mov_cr4(world.mmu, 1u << 5 | (source.word() & 0x771080)));
    case 12:
      return world.tally.add(vmem_mmu_counter(world.mmu,
                                              source.one_in(9) ? "none" : vmem_counter_name(source.small(30)),
                                              source.one_in(9) ? nullptr : &value));
    default:
      return world.tally.add(source.one_in(2) ? vmem_mmu_flush(world.mmu) : vmem_mmu_reset_counters(world.mmu));
  }
}

}  // namespace

Tally make_mmu_calls(Source& source) {
  World world{source};
  Source garbage({}, source.word() | 1);  // given bytes are for calls, or a fuzzer would never get that far
  for (std::uint64_t& entry : world.memory) entry = garbage_entry(garbage);
  for (int tries = 0; tries < 20 && world.mmu == nullptr; ++tries) create(world);
  for (int i = 0; i < 150 && !source.ended(); ++i) call_once(world);
  world.tally.add(vmem_mmu_destroy(world.mmu));
  vmem_mmu* const dead = world.mmu;
  if (dead != nullptr) CHECK_STATUS(vmem_mmu_flush(dead), VMEM_E_HANDLE);
  return world.tally;
}

}  // namespace vmem::test
