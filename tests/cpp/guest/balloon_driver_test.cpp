// The memory balloon: Linux's driver in the guest, QEMU's device on the host, and drivers that break the rules.
#include "guest/balloon_driver.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "core/error.hpp"
#include "guest/watermark.hpp"
#include "sim/machine.hpp"
#include "support/guest_machine.hpp"
#include "vmm/balloon/balloon_device.hpp"

namespace vmem {
namespace {

using vmm::balloon::Rule;
namespace balloon = virtio::balloon;
constexpr std::uint64_t kMiB = 1 << 20;

vmm::VmConfig with_balloon(vmm::BalloonConfig features = {}, vmm::MmuMode mode = vmm::MmuMode::nested) {
  vmm::VmConfig config = test::vm_config(mode, 64 * kMiB);
  config.balloon = features;
  config.balloon.present = true;
  return config;
}

struct Fixture {
  explicit Fixture(const vmm::VmConfig& config = with_balloon()) : guest(machine.guest(machine.create_vm(config))) {}

  void wait(Nanoseconds duration) { machine.time().advance_to(machine.time().now() + duration); }
  /// A process that stores to so many bytes. False: it was killed.
  bool touch(std::uint64_t bytes, bool exits) {
    guest::Process& process = guest.kernel->spawn(vcpu, "toucher");
    const auto area = guest.kernel->mmap(vcpu, process, {bytes, {true, true, false}, {}, PageSize::k4K, "", {}});
    std::vector<std::uint64_t> addresses;
    for (std::uint64_t at = area.start; at < area.end; at += kPageSize) addresses.push_back(at);
    const std::vector<std::uint8_t> kinds(addresses.size(), 1);
    machine.access(guest, vcpu, process, addresses, kinds, [](std::uint64_t) { return true; });
    const bool alive = !process.killed;
    if (exits) guest.kernel->exit(vcpu, process);
    return alive;
  }
  std::uint64_t broken(Rule rule) { return device.stat().broken[static_cast<std::size_t>(rule)]; }
  std::uint64_t all_broken() {
    std::uint64_t sum = 0;
    for (const std::uint64_t count : device.stat().broken) sum += count;
    return sum;
  }

  sim::Machine machine{256 * kMiB};
  sim::Guest& guest;
  vmm::balloon::BalloonDevice& device = *guest.vm->balloon();
  guest::BalloonDriver& driver = *guest.kernel->devices().balloon();
  hw::Vcpu& vcpu = guest.vm->vcpu(0);
};

TEST_CASE("the guest follows the target in requests of 256 pages, and gives the pages back last in, first out") {
  for (const auto mode : {vmm::MmuMode::nested, vmm::MmuMode::shadow}) {
    Fixture f(with_balloon({}, mode));
    const std::uint64_t managed = f.guest.kernel->managed_frames(), free = f.guest.kernel->free_frames();
    CHECK(f.device.actual() == 64 * kMiB);
    f.device.set_target(32 * kMiB);
    f.wait(kSecond);
    CHECK(f.device.actual() == 32 * kMiB);
    CHECK(f.device.held() == 8192);
    CHECK(f.device.stat().inflate_requests == 32);
    CHECK(f.driver.pages().size() == 8192);
    // MemTotal shrinks page by page, and MemFree with it.
    CHECK(f.guest.kernel->managed_frames() == managed - 8192);
    CHECK(f.guest.kernel->free_frames() == free - 8192);
    const std::vector<Gfn> before = f.driver.pages();
    f.device.set_target(48 * kMiB);
    f.wait(kSecond);
    CHECK(f.device.actual() == 48 * kMiB);
    CHECK(std::equal(f.driver.pages().begin(), f.driver.pages().end(), before.begin()));
    f.device.set_target(~0ull);
    f.wait(kSecond);
    CHECK(f.device.target() == 64 * kMiB);
    CHECK(f.device.actual() == 64 * kMiB);
    CHECK(f.device.stat().deflate_requests == 32);
    CHECK(f.guest.kernel->managed_frames() == managed);
    CHECK(f.guest.kernel->free_frames() == free);
    CHECK(f.all_broken() == 0);
    f.machine.check();
  }
}

TEST_CASE("what a process has left behind comes back to the host by inflation only") {
  for (const auto mode : {vmm::MmuMode::nested, vmm::MmuMode::shadow}) {
    Fixture f(with_balloon({}, mode));
    CHECK(f.touch(40 * kMiB, true));
    const std::uint64_t resident = f.guest.vm->resident_frames();
    const auto backed = [&] {
      return f.guest.vm->counters().faults[static_cast<std::size_t>(FaultClass::backed_on_demand)];
    };
    const std::uint64_t backed_before = backed();
    CHECK(resident >= 40 * kMiB / kPageSize);
    f.device.set_target(16 * kMiB);
    f.wait(kSecond);
    CHECK(f.device.actual() == 16 * kMiB);
    // The kernel's page array, which inflation touches where it had not been touched, is all that comes.
    CHECK(f.guest.vm->resident_frames() == resident + backed() - backed_before - f.device.stat().discarded);
    CHECK(f.guest.vm->resident_frames() <= 16 * kMiB / kPageSize);
    f.device.set_target(64 * kMiB);
    f.wait(kSecond);
    CHECK(f.guest.vm->resident_frames() <= 16 * kMiB / kPageSize);  // no refill
    CHECK(f.touch(40 * kMiB, true));
    CHECK(f.guest.vm->resident_frames() >= 40 * kMiB / kPageSize);
    CHECK(f.all_broken() == 0);
    f.machine.check();
  }
}

TEST_CASE("inflation stops at the min watermark and tries again every 200 ms, and nobody is killed") {
  Fixture f;
  f.device.set_target(1);
  f.wait(kSecond);
  std::uint64_t least = 0;
  for (const guest::ZoneInfo& zone : f.guest.kernel->zoneinfo()) least += zone.marks.min + zone.reserve[1];
  CHECK(least > 500);
  CHECK(f.guest.kernel->free_frames() == least);
  CHECK(f.driver.stat().out_of_puff >= 5);
  CHECK(f.driver.stat().out_of_puff <= 6);
  CHECK(f.guest.kernel->vmstat().oom_kill == 0);
  CHECK(f.device.held() == f.driver.pages().size());
  CHECK(f.all_broken() == 0);
}

TEST_CASE("with DEFLATE_ON_OOM MemTotal stays, and the balloon gives way before a process is killed") {
  Fixture f(with_balloon({.deflate_on_oom = true}));
  const std::uint64_t managed = f.guest.kernel->managed_frames();
  f.device.set_target(16 * kMiB);
  f.wait(kSecond);
  CHECK(f.guest.kernel->managed_frames() == managed);
  CHECK(f.touch(30 * kMiB, false));
  CHECK(f.driver.stat().oom_deflated > 0);
  CHECK(f.driver.stat().oom_deflated % 256 == 0);
  CHECK(f.guest.kernel->vmstat().oom_kill == 0);
  CHECK(f.device.actual() > 16 * kMiB);
  CHECK(f.device.target() == 16 * kMiB);
  CHECK(f.all_broken() == 0);
  Fixture without;
  without.device.set_target(16 * kMiB);
  without.wait(kSecond);
  CHECK_FALSE(without.touch(30 * kMiB, false));
}

TEST_CASE("statistics come when the host asks, every so many seconds") {
  Fixture f;
  const auto value = [&](balloon::Tag tag) { return f.device.statistics().values[static_cast<std::size_t>(tag)]; };
  f.device.set_polling_interval(2);
  f.wait(5 * kSecond);
  CHECK(f.device.statistics().updated / kSecond == 4);
  CHECK(value(balloon::Tag::total_memory) == f.guest.kernel->managed_frames() * kPageSize);
  CHECK(value(balloon::Tag::free_memory) == f.guest.kernel->meminfo().MemFree * kPageSize);
  CHECK(value(balloon::Tag::htlb_pgalloc) == vmm::balloon::Statistics::kUnknown);
  f.device.set_polling_interval(0);
  f.wait(5 * kSecond);
  CHECK(f.device.statistics().updated / kSecond == 4);
  CHECK(f.all_broken() == 0);
}

TEST_CASE("4 KiB requests never free a page of 2 MiB, and an inhibited device frees nothing") {
  for (const bool inhibited : {false, true}) {
    vmm::VmConfig config = with_balloon();
    if (!inhibited) config.backing.largest = PageSize::k2M;
    Fixture f(config);
    f.device.inhibit(inhibited);
    CHECK(f.touch(40 * kMiB, true));
    const std::uint64_t resident = f.guest.vm->resident_frames();
    f.device.set_target(16 * kMiB);
    f.wait(kSecond);
    CHECK(f.device.actual() == 16 * kMiB);
    CHECK(f.device.stat().discarded == 0);
    CHECK(f.guest.vm->resident_frames() >= resident);
    f.machine.check();
  }
}

/// A driver of a few lines, which does what it is told, right or wrong.
struct Wrong : Fixture {
  explicit Wrong(vmm::BalloonConfig features) : Fixture(with_balloon(features)) {
    REQUIRE(raw.negotiate(vcpu, 0x3f));
    for (std::uint32_t i = 0; i < 3; ++i) queues.push_back(*raw.set_up_queue(vcpu, guest.kernel->pages(), i, 128));
    raw.start(vcpu);
  }
  void send(std::uint32_t queue, const std::vector<std::uint32_t>& pfns, std::uint32_t bytes = 0) {
    virtio::VcpuMemory memory(vcpu);
    for (std::size_t i = 0; i < pfns.size(); ++i) vcpu.store(buffer + 4 * i, pfns[i]);
    const virtio::Buffer request{buffer, bytes != 0 ? bytes : static_cast<std::uint32_t>(4 * pfns.size())};
    queues[queue].add(memory, std::span(&request, 1), {});
    raw.notify(vcpu, queue);
    queues[queue].take(memory);
  }
  guest::VirtioDriver raw{0};
  std::vector<virtio::DriverQueue> queues;
  Gpa buffer{0x300'0000};
};

TEST_CASE("each rule of the standard that a device can see is seen when a driver breaks it") {
  Wrong f({.must_tell_host = true});
  f.send(0, {0x2000, 0x2001});
  CHECK(f.all_broken() == 0);
  f.send(0, {16384, 0xffff'ffff});
  CHECK(f.broken(Rule::pfn_outside) == 2);
  f.send(1, {16384});
  CHECK(f.broken(Rule::pfn_outside) == 3);
  f.send(0, {0x2000});
  CHECK(f.broken(Rule::inflated_twice) == 1);
  f.send(1, {0x2002});
  CHECK(f.broken(Rule::deflated_not_inflated) == 1);
  f.vcpu.store(Gfn{0x2001}.address(), 1u);
  f.send(1, {0x2001});
  CHECK(f.broken(Rule::used_before_told) == 1);
  f.raw.write_config(f.vcpu, balloon::kActual, 7);
  CHECK(f.broken(Rule::actual_wrong) == 1);
  f.raw.write_config(f.vcpu, balloon::kActual, 1);
  CHECK(f.broken(Rule::actual_wrong) == 1);
  CHECK(f.broken(Rule::below_target) == 0);  // the host asks for nothing
  f.device.set_target(32 * kMiB);
  f.send(1, {0x2000});
  f.raw.write_config(f.vcpu, balloon::kActual, 0);
  CHECK(f.broken(Rule::below_target) == 1);
  f.send(2, {}, 10);
  CHECK(f.broken(Rule::second_stats_buffer) == 0);
  f.send(2, {}, 11);
  CHECK(f.broken(Rule::second_stats_buffer) == 1);
  CHECK(f.broken(Rule::bad_stats) == 1);
  f.raw.write_config(f.vcpu, balloon::kPoison, 1);
  CHECK(f.broken(Rule::poison_changed) == 1);
  f.raw.write_config(f.vcpu, balloon::kNumPages, 1);
  CHECK(f.broken(Rule::read_only_config) == 1);
  CHECK(f.device.is_up());
  f.machine.check();
}

TEST_CASE("pages of the queue itself and of the request in the balloon disturb nobody else") {
  Wrong f({});
  const auto page = static_cast<std::uint32_t>(f.queues[0].rings().descriptors.frame().value);
  f.send(0, {page, static_cast<std::uint32_t>(f.buffer.frame().value)});
  CHECK(f.device.held() == 2);
  f.machine.hypervisor().check();
}

TEST_CASE("a balloon outlives its driver: target and actual stay, the pages are the guest's again") {
  Fixture f;
  f.device.set_target(32 * kMiB);
  f.wait(kSecond);
  const guest::VirtioDriver raw(0);
  raw.write(f.vcpu, virtio::reg::kStatus, 0);
  CHECK(f.device.held() == 0);
  CHECK(f.device.target() == 32 * kMiB);
  CHECK(f.device.actual() == 32 * kMiB);
}

TEST_CASE("a native machine has no balloon") {
  CHECK_THROWS_AS(Fixture(with_balloon({}, vmm::MmuMode::native)), ConfigError);
}

}  // namespace
}  // namespace vmem
