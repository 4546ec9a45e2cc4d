// Free pages that a guest tells its host, by drivers that do it right and wrong.
#include <doctest/doctest.h>

#include <algorithm>
#include <span>
#include <vector>

#include "guest/page_reporting.hpp"
#include "guest/shrinker.hpp"
#include "sim/machine.hpp"
#include "support/guest_machine.hpp"
#include "vmm/balloon/balloon_device.hpp"

namespace vmem {
namespace {

using vmm::balloon::Rule;
namespace balloon = virtio::balloon;
constexpr std::uint64_t kMiB = 1 << 20;

/// A driver of a few lines for the queues of free pages, beside a kernel that has lost its own.
struct Raw {
  explicit Raw(vmm::MmuMode mode, std::uint64_t features = 0x3f) : guest(machine.guest(create(machine, mode))) {
    REQUIRE(raw.negotiate(vcpu, features));
    for (std::uint32_t i = 0; i < 5; ++i) queues.push_back(*raw.set_up_queue(vcpu, guest.kernel->pages(), i, 128));
  }
  static std::uint16_t create(sim::Machine& machine, vmm::MmuMode mode) {
    vmm::VmConfig config = test::vm_config(mode, 64 * kMiB);
    config.balloon = {.present = true, .free_page_reporting = true, .free_page_hint = true};
    return machine.create_vm(config);
  }
  void send(std::uint32_t queue, std::span<const virtio::Buffer> readable, std::span<const virtio::Buffer> writable) {
    virtio::VcpuMemory memory(vcpu);
    queues[queue].add(memory, readable, writable);
    raw.notify(vcpu, queue);
    queues[queue].take(memory);
  }
  void inflate(std::uint32_t pfn) {
    vcpu.store(words, pfn);
    const virtio::Buffer request{words, 4};
    send(0, {&request, 1}, {});
  }
  void tell(std::uint32_t id, std::uint32_t bytes = 4) {
    vcpu.store(words, id);
    const virtio::Buffer request{words, bytes};
    send(kHints, {&request, 1}, {});
  }
  void give(std::uint32_t queue, std::uint64_t address, std::uint32_t bytes) {
    const virtio::Buffer block{Gpa{address}, bytes};
    send(queue, {}, {&block, 1});
  }
  void fill(std::uint64_t address) { vcpu.store(Gpa{address}, std::uint64_t{0x1234}); }
  std::uint64_t broken(Rule rule) { return device.stat().broken[static_cast<std::size_t>(rule)]; }

  static constexpr std::uint32_t kHints = 3, kReports = 4;
  static constexpr std::uint64_t kBlock = 0x200'0000;
  sim::Machine machine{256 * kMiB};
  sim::Guest& guest;
  vmm::balloon::BalloonDevice& device = *guest.vm->balloon();
  hw::Vcpu& vcpu = guest.vm->vcpu(0);
  guest::VirtioDriver raw{0};
  std::vector<virtio::DriverQueue> queues;
  Gpa words{0x300'0000};
};

TEST_CASE("a report takes whole pages, and reads as zeros afterwards") {
  for (const auto mode : {vmm::MmuMode::nested, vmm::MmuMode::shadow}) {
    Raw f(mode);
    f.raw.start(f.vcpu);
    f.fill(Raw::kBlock);
    f.fill(Raw::kBlock + 0x1000);
    f.give(Raw::kReports, Raw::kBlock + 8, 4096);  // not a page
    CHECK(f.device.stat().reported_discarded == 0);
    f.give(Raw::kReports, Raw::kBlock, 2 * kMiB);
    CHECK(f.device.stat().reported_discarded == 2);
    CHECK(f.vcpu.load<std::uint64_t>(Gpa{Raw::kBlock}) == 0);
    CHECK(f.device.stat().broken == decltype(f.device.stat().broken){});
    f.machine.check();
  }
}

TEST_CASE("poison_val counts only if PAGE_POISON was agreed on, and keeps reported and hinted pages") {
  for (const bool agreed : {false, true}) {
    Raw f(vmm::MmuMode::nested, agreed ? 0x3fu : 0x3fu & ~balloon::kPagePoison);
    f.raw.write_config(f.vcpu, balloon::kPoison, 0xaaaa'aaaa);
    f.raw.start(f.vcpu);
    f.fill(Raw::kBlock);
    f.give(Raw::kReports, Raw::kBlock, 2 * kMiB);
    CHECK(f.device.stat().reported_discarded == (agreed ? 0 : 1));
    f.fill(Raw::kBlock);
    f.device.start_hinting();
    f.tell(balloon::kFirstHintRound);
    f.give(Raw::kHints, Raw::kBlock, 4 * kMiB);
    CHECK(f.device.stat().hinted == 1024);
    CHECK(f.device.stat().hinted_discarded == (agreed ? 0 : 1));
    CHECK(f.vcpu.load<std::uint64_t>(Gpa{Raw::kBlock}) == (agreed ? 0x1234u : 0u));
  }
}

TEST_CASE("what a driver does wrong with free pages is seen") {
  Raw f(vmm::MmuMode::nested);
  f.raw.start(f.vcpu);
  f.give(Raw::kHints, Raw::kBlock, 4 * kMiB);
  CHECK(f.broken(Rule::hint_without_id) == 1);
  CHECK(f.device.stat().stale_hints == 1);
  f.tell(balloon::kFirstHintRound);  // no round has begun
  CHECK(f.broken(Rule::unknown_hint_id) == 1);
  f.device.start_hinting();
  f.tell(balloon::kFirstHintRound);
  f.inflate(Raw::kBlock >> 12);
  f.give(Raw::kHints, Raw::kBlock, 4 * kMiB);
  CHECK(f.broken(Rule::free_inflated) == 1);
  f.give(Raw::kReports, Raw::kBlock, 2 * kMiB);
  CHECK(f.broken(Rule::free_inflated) == 2);
  CHECK(f.broken(Rule::hint_id_repeated) == 0);
  f.tell(balloon::kFirstHintRound);
  CHECK(f.broken(Rule::hint_id_repeated) == 1);
  CHECK(f.broken(Rule::hint_without_id) == 1);
  CHECK_FALSE(f.device.needs_reset());
  f.raw.write_config(f.vcpu, balloon::kHintCommand, 1);
  CHECK(f.broken(Rule::read_only_config) == 1);
  f.tell(balloon::kHintStop, 5);
  CHECK(f.device.needs_reset());
  f.machine.hypervisor().check();
}

TEST_CASE("hints belong to the round whose id was told last, and late ones are ignored") {
  Raw f(vmm::MmuMode::nested);
  f.raw.start(f.vcpu);
  const auto command = [&] { return f.raw.read_config(f.vcpu, balloon::kHintCommand); };
  CHECK(command() == balloon::kHintStop);
  f.device.start_hinting();
  CHECK(command() == balloon::kFirstHintRound);
  f.device.start_hinting();
  CHECK(command() == balloon::kFirstHintRound + 1);
  f.tell(balloon::kFirstHintRound);  // the driver is one round behind
  f.fill(Raw::kBlock);
  f.give(Raw::kHints, Raw::kBlock, 4 * kMiB);
  CHECK(f.device.stat().stale_hints == 1);
  CHECK(f.vcpu.load<std::uint64_t>(Gpa{Raw::kBlock}) == 0x1234);
  f.tell(balloon::kHintStop);
  f.tell(balloon::kFirstHintRound + 1);
  CHECK(f.device.stat().hint_rounds == 1);
  CHECK(command() == balloon::kFirstHintRound + 1);
  f.give(Raw::kHints, Raw::kBlock, 4 * kMiB);
  CHECK(f.device.stat().hints == 1);
  f.tell(balloon::kHintStop);
  f.give(Raw::kHints, Raw::kBlock, 4 * kMiB);
  CHECK(f.device.stat().stale_hints == 2);
  f.device.finish_hinting();
  CHECK(command() == balloon::kHintDone);
  CHECK(f.device.stat().broken == decltype(f.device.stat().broken){});
}

TEST_CASE("a reset stops the round") {
  Raw f(vmm::MmuMode::nested);
  f.raw.start(f.vcpu);
  f.device.start_hinting();
  f.raw.write(f.vcpu, virtio::reg::kStatus, 0);
  CHECK(f.device.hint_rounds().state() == vmm::balloon::HintRounds::State::stopped);
}

struct Counted final : guest::Shrinker {
  std::uint64_t left;
  std::vector<std::uint64_t> asked;
  explicit Counted(std::uint64_t pages) : left(pages) {}
  std::uint64_t count() const override { return left; }
  std::uint64_t scan(hw::Vcpu&, std::uint64_t pages) override {
    asked.push_back(pages);
    left -= std::min(left, pages);
    return pages;
  }
};

TEST_CASE("a shrinker is asked in batches of 128, and for what was deferred later") {
  Raw f(vmm::MmuMode::nested);
  guest::ShrinkerScan scan;
  Counted many(1 << 20);
  CHECK(scan.run(f.vcpu, many, 12) == 512);  // 2^20 / 2^12 * 4 / 2
  CHECK(many.asked == std::vector<std::uint64_t>{128, 128, 128, 128});
  Counted few(60);
  guest::ShrinkerScan other;
  CHECK(other.run(f.vcpu, few, 6) == 0);    // nothing of 60 >> 6
  CHECK(other.run(f.vcpu, few, 0) == 120);  // twice what there is
}

}  // namespace
}  // namespace vmem
