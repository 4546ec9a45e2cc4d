// Closed forms: programs whose times are known, so that who runs when can be worked out by hand.
#include "sim/scheduler.hpp"

#include <doctest/doctest.h>

#include <array>
#include <limits>
#include <memory>
#include <vector>

#include "core/error.hpp"
#include "sim/machine.hpp"
#include "support/guest_machine.hpp"

namespace vmem::sim {
namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();
constexpr Nanoseconds kMicrosecond = 1000;

/// References to one page, each of which computes for a microsecond, and a wait before every `per_wait` of them.
class Script final : public Program {
 public:
  Script(std::uint64_t count, std::size_t per_wait, Nanoseconds wait)
      : left_(count), per_wait_(per_wait), wait_(wait) {}
  Turn next(Session& session) override {
    if (addresses_.empty()) {
      guest::MapRequest request;
      request.length = kPageSize;
      addresses_.assign(per_wait_, session.kernel.mmap(session.vcpu, *session.process, request).start);
      kinds_.assign(per_wait_, 0);
    } else if (wait_ != 0) {
      session.vcpu.wait(wait_);
    }
    const std::size_t count = std::min<std::uint64_t>(per_wait_, left_);
    left_ -= count;
    if (count == 0) return {};
    Turn turn;
    turn.kind = Turn::Kind::references;
    turn.addresses = std::span(addresses_).first(count);
    turn.kinds = std::span(kinds_).first(count);
    turn.compute = kMicrosecond;
    return turn;
  }

 private:
  std::uint64_t left_;
  std::size_t per_wait_;
  Nanoseconds wait_;
  std::vector<std::uint64_t> addresses_;
  std::vector<std::uint8_t> kinds_;
};

/// Sleeps through a second, twice, and makes one reference after each.
class Sleeper final : public Program {
 public:
  Turn next(Session& session) override {
    ++turns_;
    Turn turn;
    if (turns_ == 1) {
      guest::MapRequest request;
      request.length = kPageSize;
      address_ = session.kernel.mmap(session.vcpu, *session.process, request).start;
    }
    if (turns_ == 5) return {};
    if (turns_ % 2 == 1) {
      turn.kind = Turn::Kind::idle;
      turn.until = session.vcpu.now() + kSecond;
      return turn;
    }
    turn.kind = Turn::Kind::references;
    turn.addresses = {&address_, 1};
    turn.kinds = {&kind_, 1};
    return turn;
  }

 private:
  int turns_ = 0;
  std::uint64_t address_ = 0;
  std::uint8_t kind_ = 0;
};

/// A host whose memory costs nothing, so that time is what programs compute and wait.
struct World {
  Machine machine{512ull << 20};
  std::vector<std::uint64_t> tasks;

  World() {
    CostModel free;
#define X(name, cycles, unit, source) free.name = 0;
    VMEM_COSTS(X)
#undef X
    machine.costs() = free;
  }
  Guest& add_vm(int vcpus = 1) {
    vmm::VmConfig config = test::vm_config(vmm::MmuMode::nested, 16 << 20);
    config.vcpus = vcpus;
    return machine.guest(machine.create_vm(config));
  }
  void start(Guest& guest, std::size_t vcpu, ProgramFactory program, std::uint64_t runs = 1,
             std::uint64_t limit = kNoLimit) {
    const guest::Process& process = guest.kernel->spawn(guest.vm->vcpu(0), "script");
    tasks.push_back(
        machine.scheduler().start(std::make_unique<Task>(guest, vcpu, process, std::move(program), runs, limit)));
  }
  void start(Guest& guest, std::uint64_t count, std::size_t per_wait = 512, Nanoseconds wait = 0) {
    start(guest, 0, [=] { return std::make_unique<Script>(count, per_wait, wait); });
  }
  Scheduler::End run(Nanoseconds duration) {
    const Poll on = [](std::uint64_t) { return true; };
    return machine.scheduler().run_until(machine.time().now() + duration, kNoLimit, on);
  }
  const Task& task(std::size_t index) { return *machine.scheduler().tasks().at(tasks.at(index)); }
  VcpuTimes times(Guest& guest) { return machine.time().vcpus(*guest.vm).front().times; }
};

bool near(Nanoseconds a, Nanoseconds b, Nanoseconds tolerance) { return (a > b ? a - b : b - a) <= tolerance; }

TEST_CASE("a program alone takes what it computes") {
  World world;
  Guest& guest = world.add_vm();
  world.start(guest, 10'000);
  CHECK(world.run(kSecond) == Scheduler::End::tasks);
  CHECK(world.machine.time().now() == 10 * kMillisecond);
  CHECK(world.task(0).references() == 10'000);
  CHECK(world.times(guest).running == 10 * kMillisecond);
  CHECK(world.times(guest).runnable == 0);
  CHECK(guest.kernel->processes().empty());  // a program's end is its process's
}

TEST_CASE("vCPUs that only compute share the physical CPUs evenly") {
  for (const auto& [vms, cpus] : {std::pair{2, 1}, {3, 1}, {3, 2}, {4, 2}, {5, 3}, {2, 2}, {2, 5}}) {
    CAPTURE(vms);
    CAPTURE(cpus);
    World world;
    world.machine.scheduler().set_cpus(static_cast<std::size_t>(cpus));
    std::vector<Guest*> guests;
    for (int i = 0; i < vms; ++i) {
      guests.push_back(&world.add_vm());
      world.start(*guests.back(), 100'000'000);
    }
    CHECK(world.run(kSecond) == Scheduler::End::time);
    const Nanoseconds share = kSecond * static_cast<Nanoseconds>(std::min(vms, cpus)) / static_cast<Nanoseconds>(vms);
    for (Guest* guest : guests) {
      CHECK(near(world.times(*guest).running, share, 4 * Scheduler::kQuantum));
      CHECK(near(world.times(*guest).running + world.times(*guest).runnable, kSecond, kMicrosecond));
    }
  }
}

TEST_CASE("two vCPUs that only compute on one physical CPU take twice the time") {
  World world;
  world.machine.scheduler().set_cpus(1);
  Guest &a = world.add_vm(), &b = world.add_vm();
  world.start(a, 300'000);
  world.start(b, 300'000);
  CHECK(world.run(10 * kSecond) == Scheduler::End::tasks);
  CHECK(world.machine.time().now() == 600 * kMillisecond);
}

TEST_CASE("a vCPU that waits does not run: others use its physical CPU") {
  // Each computes 100 us and waits 300 us. One alone needs 400 us a round; four on one CPU fit in exactly.
  constexpr std::uint64_t kRounds = 200;
  for (const int vms : {1, 2, 4}) {
    CAPTURE(vms);
    World world;
    world.machine.scheduler().set_cpus(1);
    std::vector<Guest*> guests;
    for (int i = 0; i < vms; ++i) {
      guests.push_back(&world.add_vm());
      world.start(*guests.back(), 100 * kRounds, 100, 300 * kMicrosecond);
    }
    CHECK(world.run(10 * kSecond) == Scheduler::End::tasks);
    const Nanoseconds alone = kRounds * 400 * kMicrosecond;
    const Nanoseconds last_begins = static_cast<Nanoseconds>(vms - 1) * 100 * kMicrosecond;
    CHECK(near(world.machine.time().now(), alone + last_begins, 300 * kMicrosecond));
    for (Guest* guest : guests) {
      CHECK(world.times(*guest).waiting == kRounds * 300 * kMicrosecond);
      CHECK(world.times(*guest).running == kRounds * 100 * kMicrosecond);
    }
  }
  // Eight of them need the CPU for 800 us a round: it is never idle, and nobody is faster than that.
  World world;
  world.machine.scheduler().set_cpus(1);
  for (int i = 0; i < 8; ++i) world.start(world.add_vm(), 100 * kRounds, 100, 300 * kMicrosecond);
  CHECK(world.run(10 * kSecond) == Scheduler::End::tasks);
  CHECK(near(world.machine.time().now(), kRounds * 800 * kMicrosecond, kMillisecond));
}

TEST_CASE("the quantum changes who runs when, not what is done") {
  std::vector<Counters> counted;
  for (const Nanoseconds quantum : {10 * kMicrosecond, 3 * kMillisecond, 50 * kMillisecond}) {
    World world;
    world.machine.scheduler().set_cpus(1);
    world.machine.scheduler().set_quantum(quantum);
    Guest &a = world.add_vm(), &b = world.add_vm();
    world.start(a, 50'000);
    world.start(b, 20'000);
    CHECK(world.run(kSecond) == Scheduler::End::tasks);
    CHECK(world.machine.time().now() == 70 * kMillisecond);
    counted.push_back(a.vm->counters());
    CHECK(counted.back().accesses == 50'000);
    CHECK(counted.back().loads == counted.front().loads);
    CHECK(counted.back().walk_refs_guest == counted.front().walk_refs_guest);
    CHECK(counted.back().tlb_misses == counted.front().tlb_misses);
  }
}

TEST_CASE("tasks of one vCPU take turns, those of another run beside them") {
  World world;
  Guest& guest = world.add_vm(2);
  for (const std::size_t vcpu : {0u, 0u, 1u})
    world.start(guest, vcpu, [] { return std::make_unique<Script>(100'000'000, 512, 0); });
  CHECK(world.run(kSecond) == Scheduler::End::time);
  CHECK(near(world.task(0).references(), 500'000, 4000));
  CHECK(near(world.task(1).references(), 500'000, 4000));
  CHECK(near(world.task(2).references(), 1'000'000, 10));
}

TEST_CASE("who sleeps takes no time from others and wakes on time") {
  World world;
  world.machine.scheduler().set_cpus(1);
  Guest &guest = world.add_vm(), &busy = world.add_vm();
  world.start(guest, 0, [] { return std::make_unique<Sleeper>(); });
  CHECK(world.run(5 * kSecond) == Scheduler::End::tasks);
  CHECK(world.machine.time().now() == 2 * kSecond);
  CHECK(world.times(guest).running == 0);
  world.start(busy, 1'500'000);
  world.start(guest, 0, [] { return std::make_unique<Sleeper>(); });
  CHECK(world.run(5 * kSecond) == Scheduler::End::tasks);
  CHECK(near(world.machine.time().now(), 4 * kSecond, 2 * Scheduler::kQuantum));
  CHECK(world.times(busy).running == 1500 * kMillisecond);
}

TEST_CASE("further runs are new processes; a limit ends them all") {
  World world;
  Guest& guest = world.add_vm();
  world.start(guest, 0, [] { return std::make_unique<Script>(1000, 512, 0); }, 5);
  world.start(guest, 0, [] { return std::make_unique<Script>(1000, 512, 0); }, 5, 2300);
  CHECK(world.run(kSecond) == Scheduler::End::tasks);
  CHECK(world.task(0).runs() == 5);
  CHECK(world.task(0).references() == 5000);
  CHECK(world.task(1).runs() == 3);
  CHECK(world.task(1).references() == 2300);
  CHECK(world.task(1).stopped().empty());
  CHECK(guest.kernel->processes().empty());
  world.machine.check();
}

TEST_CASE("a run ends when there are enough references, and goes on where it was") {
  World world;
  Guest& guest = world.add_vm();
  world.start(guest, 100'000);
  const Poll on = [](std::uint64_t) { return true; };
  CHECK(world.machine.scheduler().run_until(kSecond, 30'000, on) == Scheduler::End::references);
  CHECK(near(world.task(0).references(), 30'000, 512));
  CHECK(world.run(kSecond) == Scheduler::End::tasks);
  CHECK(world.task(0).references() == 100'000);
  CHECK(world.machine.time().now() == 100 * kMillisecond);
}

TEST_CASE("a poll that says no stops within a stretch") {
  World world;
  world.start(world.add_vm(), 1'000'000);
  int asked = 0;
  const Poll once = [&](std::uint64_t) { return ++asked < 3; };
  CHECK(world.machine.scheduler().run_until(kSecond, kNoLimit, once) == Scheduler::End::interrupted);
  CHECK(asked == 3);
  CHECK(world.run(2 * kSecond) == Scheduler::End::tasks);
  CHECK(world.task(0).references() == 1'000'000);
}

struct Daemon final : vmm::Daemon {
  explicit Daemon(const Clock& clock) : clock_(clock) {}
  Nanoseconds next_deadline() const override { return next_; }
  void run_due(Nanoseconds) override {
    ran.push_back(clock_.now());
    next_ += 100 * kMillisecond;
  }
  std::vector<Nanoseconds> ran;

 private:
  const Clock& clock_;
  Nanoseconds next_ = 50 * kMillisecond;
};

TEST_CASE("daemons and guests' timers keep their times while programs run") {
  World world;
  Guest& guest = world.add_vm();
  Daemon daemon(world.machine.hypervisor().host().clock);
  world.machine.hypervisor().add_daemon(daemon);
  std::vector<Nanoseconds> ticks;
  guest::Timers& timers = guest.kernel->timers();
  guest::Timers::Id tick = 0;
  tick = timers.add([&](hw::Vcpu& vcpu) {
    ticks.push_back(vcpu.now());
    timers.arm(tick, vcpu.now() + 200 * kMillisecond);
  });
  timers.arm(tick, 1);
  world.start(guest, 100'000'000);
  CHECK(world.run(kSecond) == Scheduler::End::time);
  REQUIRE(daemon.ran.size() == 10);
  for (std::size_t i = 0; i < 10; ++i) CHECK(daemon.ran[i] == (50 + 100 * i) * kMillisecond);
  REQUIRE(ticks.size() == 5);
  for (std::size_t i = 0; i < 5; ++i) CHECK(near(ticks[i], 200 * i * kMillisecond, 2 * kMillisecond));
  world.machine.hypervisor().remove_daemon(daemon);
}

TEST_CASE("a process that exits from outside, and a VM that is destroyed, end their programs") {
  World world;
  Guest &a = world.add_vm(), &b = world.add_vm();
  world.start(a, 1'000'000);
  world.start(b, 1'000'000);
  CHECK(world.run(10 * kMillisecond) == Scheduler::End::time);
  a.kernel->exit(a.vm->vcpu(0), *a.kernel->processes().front());
  CHECK(world.run(10 * kMillisecond) == Scheduler::End::time);
  CHECK(world.task(0).ended());
  CHECK(world.task(0).stopped() == "its process has exited");
  world.machine.destroy_vm(b.vm->id());
  CHECK(world.run(10 * kMillisecond) == Scheduler::End::tasks);
}

}  // namespace
}  // namespace vmem::sim
