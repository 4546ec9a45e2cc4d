// Random programs over time, and random calls between them.
#include <array>
#include <limits>

#include "random_world.hpp"

namespace vmem::test {
namespace {

double some_share(Source& source) {
  constexpr double kEdges[] = {0, 1, -1, 1e300, std::numeric_limits<double>::quiet_NaN()};
  return source.one_in(20) ? source.pick(kEdges) : static_cast<double>(source.upto(100)) / 100;
}

/// Mostly members of its own kind.
void fill(World& world, vmem_workload& workload, std::array<vmem_demand_point, 4>& curve) {
  Source& source = world.source;
  workload.kind = source.small(source.one_in(20) ? 20 : 9);
  const auto is = [&](std::uint32_t kind) { return workload.kind == kind || source.one_in(200); };
  if (!is(VMEM_WORKLOAD_DEMAND)) {
    workload.bytes = source.one_in(30) ? source.word() : (1 + source.upto(2000)) << 12;
    if (source.one_in(2)) workload.references = source.one_in(9) ? source.word() : source.upto(20'000);
  } else {
    workload.curve = source.one_in(30) ? nullptr : curve.data();
    workload.points = source.upto(curve.size());
    for (std::size_t i = 0; i < curve.size(); ++i) {
      const std::uint64_t pages = source.upto(1000);
      curve[i] = {i * source.upto(1 << 20) + (i != 0 ? i : 0), pages << 12, source.upto(pages) << 12};
    }
    if (source.one_in(20)) curve[source.upto(3)] = {source.word(), source.word(), source.word() & ~0xfffull};
  }
  if (!is(VMEM_WORKLOAD_RANDOM_UPDATE)) workload.writes = some_share(source);
  if (is(VMEM_WORKLOAD_ZIPF)) workload.skew = source.one_in(9) ? some_share(source) * 100 : 0.8;
  if (is(VMEM_WORKLOAD_HOT_COLD)) {
    workload.hot = (1 + source.upto(20)) << 12;
    workload.hot_share = some_share(source);
    workload.phase = source.upto(2000);
  }
  if (is(VMEM_WORKLOAD_STRIDE) || is(VMEM_WORKLOAD_FILE_SCAN)) workload.step = source.upto(600) * 8;
  if (is(VMEM_WORKLOAD_FORK_CHURN)) {
    workload.children = source.one_in(9) ? source.word() : source.upto(4);
    workload.references = source.one_in(9) ? source.word() : source.upto(2000);
  }
  if (is(VMEM_WORKLOAD_UNIFORM) && source.one_in(2)) workload.burst = source.small(600);
  if (is(VMEM_WORKLOAD_FILE_SCAN) && source.one_in(2)) workload.file = source.small(3);
}

/// What workloads and traces have in common.
template <class T>
void fill_manner(Source& source, T& given) {
  if (source.one_in(3)) given.limit = source.upto(30'000);
  if (source.one_in(3)) given.times = source.small(source.one_in(9) ? ~0u : 4);
  if (source.one_in(6)) given.page = source.small(3);
  if (source.one_in(3)) given.compute_ns = source.one_in(20) ? source.word() << 8 : source.upto(3000);
  given.no_compute = given.compute_ns == 0 && source.one_in(3) ? 1 : 0;
}

vmem_run some_run(World& world) {
  Source& source = world.source;
  const Area area = some_area(world);
  const std::uint64_t page = source.address(area.start, area.length) & ~0xfffull;
  if (source.one_in(2)) return {page | VMEM_STORE, source.small(9), 1 + source.small(9)};
  return {page | (source.one_in(500) ? source.small(9) : 0), 1 + source.small(9), 0};
}

/// What `give` showed last; the library has copied it by now.
struct Shown {
  std::array<vmem_run, 40> runs;
  std::array<std::uint64_t, 40> addresses;
  std::array<std::uint8_t, 40> kinds;
};

std::int32_t give(void* user, vmem_host* host, std::uint64_t, vmem_trace_item* item) {
  static Shown shown;
  auto& world = *static_cast<World*>(user);
  Source& source = world.source;
  if (source.ended() || source.one_in(8)) return 0;
  if (world.fails && source.one_in(30)) throw 5;
  if (world.fails && source.one_in(30)) return -1;
  if (source.one_in(9)) CHECK_STATUS(vmem_host_run(host, 1, 1, nullptr), VMEM_E_BUSY);
  item->kind = source.small(source.one_in(60) ? 9 : 6);
  item->count = source.upto(shown.runs.size());
  for (std::size_t i = 0; i < item->count; ++i) {
    const Area area = some_area(world);
    shown.runs[i] = some_run(world);
    shown.addresses[i] = source.address(area.start, area.length);
    shown.kinds[i] = static_cast<std::uint8_t>(source.upto(source.one_in(900) ? 9 : 2));
  }
  item->runs = source.one_in(90) ? nullptr : shown.runs.data();
  item->addresses = source.one_in(90) ? nullptr : shown.addresses.data();
  item->kinds = source.one_in(90) ? nullptr : shown.kinds.data();
  item->start = source.address(some_area(world).start, 0) & (source.one_in(60) ? ~0ull : ~0xfffull);
  item->length = source.one_in(60) ? source.word() : source.upto(100) << 12;
  item->protection = source.small(source.one_in(60) ? 20 : 7);
  item->name = source.one_in(2) ? nullptr : "heap";
  if (source.one_in(200)) item->reserved = 1;
  return 0;
}

void start_trace(World& world) {
  Source& source = world.source;
  Roomy<vmem_trace> roomy(source);
  vmem_trace& trace = roomy.it;
  std::vector<vmem_run> runs(source.upto(60));
  std::array<vmem_trace_area, 2> areas{};
  for (vmem_run& run : runs) run = some_run(world);
  for (vmem_trace_area& area : areas)
    area = {source.address(some_area(world).start, 0) & (source.one_in(30) ? ~0ull : ~0xfffull),
            (1 + source.upto(100)) << 12, source.small(source.one_in(30) ? 20 : 7), source.one_in(60) ? 1u : 0u};
  if (source.one_in(2)) {
    trace.next = give;
    trace.user = &world;
  }
  if (trace.next == nullptr || source.one_in(30)) {
    trace.runs = source.one_in(60) ? nullptr : runs.data();
    trace.run_count = source.one_in(60) ? ~0ull : runs.size();
    if (trace.run_count == ~0ull) trace.runs = nullptr;
  }
  trace.areas = areas.data();
  trace.area_count = source.upto(areas.size());
  fill_manner(source, trace);
  const auto [vm, process] = some_process(world);
  std::uint64_t program = 0;
  const vmem_status status = vmem_process_start_trace(world.host, vm, some_vcpu(world), process, &trace, &program);
  world.tally.add(status);
  if (status == VMEM_OK) world.programs.push_back(program);
}

void look_at_programs(World& world) {
  Source& source = world.source;
  const std::uint64_t program = world.programs.empty() || source.one_in(20)
                                    ? source.word()
                                    : world.programs[source.upto(world.programs.size() - 1)];
  Roomy<vmem_program_state> state(source);
  world.tally.add(vmem_program_get_state(world.host, program, source.one_in(30) ? nullptr : &state.it));
  Roomy<vmem_vm_time> time(source);
  world.tally.add(vmem_vm_get_time(world.host, some_vm(world), source.one_in(30) ? nullptr : &time.it));
  std::array<std::uint64_t, 8> picoseconds{}, references{};
  std::uint64_t count = 0;
  world.tally.add(vmem_program_costs(world.host, program, picoseconds.data(), references.data(),
                                     source.upto(picoseconds.size()), source.one_in(30) ? nullptr : &count));
}

}  // namespace

void start_something(World& world) {
  Source& source = world.source;
  if (source.one_in(3)) return start_trace(world);
  Roomy<vmem_workload> roomy(source);
  std::array<vmem_demand_point, 4> curve{};
  fill(world, roomy.it, curve);
  fill_manner(source, roomy.it);
  if (source.one_in(2)) roomy.it.seed = source.word();
  const auto [vm, process] = some_process(world);
  std::uint64_t program = 0;
  const vmem_status status =
      vmem_process_start(world.host, vm, some_vcpu(world), process, source.one_in(60) ? nullptr : &roomy.it, &program);
  world.tally.add(status);
  if (status == VMEM_OK) world.programs.push_back(program);
}

/// A goal bounds the work: at any frequency of the host, and of programs that compute nothing.
void run_programs(World& world) {
  Source& source = world.source;
  std::uint32_t ended = 0;
  world.goal += 1 + source.upto(20'000);
  world.tally.add(vmem_host_run(world.host, source.one_in(50) ? ~0ull : source.upto(30'000'000), world.goal,
                                source.one_in(9) ? nullptr : &ended));
  CHECK(ended <= VMEM_END_REFERENCES);
  if (source.one_in(4))
    world.tally.add(vmem_vm_set_paused(world.host, some_vm(world), source.one_in(2) ? 0 : source.small(2)));
  look_at_programs(world);
}

void use_pages(World& world) {
  Source& source = world.source;
  const auto [vm, process] = some_process(world);
  const Area area = some_area(world);
  const std::uint64_t start = source.one_in(3) ? source.address(area.start, area.length) : area.start;
  const std::uint64_t gpa = source.one_in(20) ? source.word() << 8 : source.upto(48 << 20);
  std::uint32_t done = 0;
  std::uint64_t got = 0;
  switch (source.upto(4)) {
    case 0:
      return world.tally.add(vmem_process_madvise(world.host, vm, some_vcpu(world), process, start,
                                                  source.one_in(3) ? source.upto(area.length) : area.length,
                                                  source.small(source.one_in(20) ? 9 : 2)));
    case 1:
      return world.tally.add(vmem_process_brk(world.host, vm, some_vcpu(world), process,
                                              source.one_in(3) ? 0 : source.address(0x5555'5555'0000, 1 << 22),
                                              source.one_in(40) ? nullptr : &got));
    case 2:
      return world.tally.add(vmem_vm_swap_out(world.host, some_vm(world), gpa, &done));
    case 3:
      return world.tally.add(vmem_vm_split(world.host, some_vm(world), gpa, source.one_in(9) ? nullptr : &done));
    default:
      return world.tally.add(vmem_vm_collapse(world.host, some_vm(world), gpa, &done));
  }
}

}  // namespace vmem::test
