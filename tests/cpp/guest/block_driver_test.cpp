// The virtual disk, from its driver down to the host's bytes.
#include "guest/block_driver.hpp"

#include <doctest/doctest.h>

#include <map>
#include <vector>

#include "core/error.hpp"
#include "support/booted_guest.hpp"
#include "support/random.hpp"
#include "vmm/block_device.hpp"

namespace vmem {
namespace {

namespace reg = virtio::reg;
using virtio::Buffer;

vmm::VmConfig with_disk(vmm::MmuMode mode = vmm::MmuMode::nested, std::uint64_t bytes = 64ull << 20) {
  vmm::VmConfig config = test::vm_config(mode, 4ull << 20);
  config.vcpus = 2;
  config.disk = {bytes, 90'000, 2'000'000'000};
  return config;
}

struct Fixture : test::BootedGuest {
  explicit Fixture(const vmm::VmConfig& config = with_disk()) : BootedGuest(config) {}
  guest::BlockDriver& disk = *kernel.devices().disk();
  Gpa frame(std::uint64_t index) const { return Gpa{0x20'0000 + kPageSize * index}; }
};

TEST_CASE("sectors come back as they were written, in every mode, and the host holds only what is not zero") {
  for (const auto mode : {vmm::MmuMode::native, vmm::MmuMode::nested, vmm::MmuMode::shadow}) {
    Fixture f(with_disk(mode));
    CHECK(f.disk.sectors() == (64u << 20) / 512);
    test::Random random(3);
    std::map<std::uint64_t, std::uint64_t> model;  // page of the disk, its first word
    for (int step = 0; step < 3000; ++step) {
      hw::Vcpu& vcpu = f.vm.vcpu(random.below(2u));
      const std::uint64_t page = random.below(500u);
      const std::vector<Buffer> segments{{f.frame(random.below(16u)), kPageSize}};
      if (random.one_in(2)) {
        vcpu.store(segments[0].at, model[page] = random.bits());
        REQUIRE(f.disk.write(vcpu, 8 * page, segments));
      } else {
        REQUIRE(f.disk.read(vcpu, 8 * page, segments));
        const auto expected = model.contains(page) ? model[page] : 0;
        REQUIRE(vcpu.load<std::uint64_t>(segments[0].at) == expected);
      }
    }
    std::uint64_t written = 0;
    for (std::uint64_t page = 0; page < f.vm.disk()->contents().frames(); ++page)
      written += f.vm.disk()->contents().is_written(page);
    CHECK(written <= model.size());
    CHECK(f.disk.in_flight() == 0);
    f.check();
  }
}

TEST_CASE("a read takes its transfer and the latency, and requests queue behind one another") {
  Fixture f;
  const Nanoseconds before = f.vcpu.now();
  REQUIRE(f.disk.read(f.vcpu, 0, std::vector<Buffer>{{f.frame(0), kPageSize}}));
  CHECK(f.vcpu.now() - before == 90'000 + 2'048);
  const Nanoseconds began = f.vcpu.now();
  std::vector<Nanoseconds> ends;
  for (int i = 0; i < 3; ++i)
    f.disk.submit(f.vcpu, virtio::block::Operation::out, 0, std::vector<Buffer>{{f.frame(0), kPageSize}},
                  [&](hw::Vcpu& vcpu, bool ok) {
                    CHECK(ok);
                    ends.push_back(vcpu.now() - began);
                  });
  CHECK(ends.empty());
  f.disk.drain(f.vcpu);
  CHECK(ends == std::vector<Nanoseconds>{92'048, 94'096, 96'144});
}

TEST_CASE("more requests than slots wait for one") {
  Fixture f;
  int done = 0;
  for (int i = 0; i < 100; ++i)
    f.disk.submit(f.vcpu, virtio::block::Operation::out, 0, std::vector<Buffer>{{f.frame(0), kPageSize}},
                  [&](hw::Vcpu&, bool ok) { done += ok; });
  f.disk.drain(f.vcpu);
  CHECK(done == 100);
  CHECK(f.vm.disk()->stat().writes == 100);
}

TEST_CASE("many segments of any size are one stream") {
  Fixture f;
  std::vector<Buffer> segments;
  for (std::uint64_t i = 0; i < 30; ++i)
    segments.push_back({f.frame(i) + 1024, static_cast<std::uint32_t>(512 * (1 + i % 3))});
  for (std::uint64_t i = 0; i < 30; ++i) f.vcpu.store(segments[i].at, 100 + i);
  REQUIRE(f.disk.write(f.vcpu, 77, segments));
  for (std::uint64_t i = 0; i < 30; ++i) f.vcpu.store(segments[i].at, std::uint64_t{0});
  REQUIRE(f.disk.read(f.vcpu, 77, segments));
  for (std::uint64_t i = 0; i < 30; ++i) CHECK(f.vcpu.load<std::uint64_t>(segments[i].at) == 100 + i);
  CHECK(f.vm.disk()->stat().written_bytes == virtio::total_bytes(segments));
  CHECK_THROWS_AS(f.disk.read(f.vcpu, 0, std::vector<Buffer>(31, Buffer{f.frame(0), 512})), ConfigError);
}

TEST_CASE("what the disk does not hold is an I/O error") {
  Fixture f;
  const std::vector<Buffer> page{{f.frame(0), kPageSize}};
  CHECK(f.disk.read(f.vcpu, f.disk.sectors() - 8, page));
  CHECK_FALSE(f.disk.read(f.vcpu, f.disk.sectors() - 7, page));
  CHECK_FALSE(f.disk.write(f.vcpu, ~0ull, page));
  CHECK_FALSE(f.disk.write(f.vcpu, 1ull << 55, page));
  CHECK_FALSE(f.disk.read(f.vcpu, 0, std::vector<Buffer>{{f.frame(0), 100}}));
  CHECK(f.disk.flush(f.vcpu));
  CHECK(f.vm.disk()->stat().errors == 4);
}

TEST_CASE("a buffer outside guest memory puts the device in need of a reset, and the driver fails instead of waiting") {
  Fixture f;
  CHECK_FALSE(f.disk.read(f.vcpu, 0, std::vector<Buffer>{{Gpa{1ull << 40}, 512}}));
  CHECK(f.vm.disk()->needs_reset());
  CHECK(f.vm.disk()->trouble() == virtio::text(virtio::QueueError::buffer_outside));
  CHECK_FALSE(f.disk.read(f.vcpu, 0, std::vector<Buffer>{{f.frame(0), 512}}));
  f.check();
  // A new driver gets it going again.
  guest::InterruptTable interrupts;
  guest::Devices again(f.vcpu, f.kernel, interrupts);
  CHECK_FALSE(f.vm.disk()->needs_reset());
}

TEST_CASE("features, status and registers behave as virtio-mmio says") {
  Fixture f;
  const auto read = [&](std::uint32_t offset) { return f.vcpu.io_read(offset); };
  const auto write = [&](std::uint32_t offset, std::uint32_t value) { f.vcpu.io_write(offset, value); };
  CHECK(read(reg::kMagic) == 0x74726976);
  CHECK(read(reg::kVersion) == 2);
  CHECK(read(reg::kDeviceId) == 2);
  CHECK(read(reg::kStatus) == 15);
  write(reg::kStatus, 0);
  CHECK(read(reg::kStatus) == 0);
  write(reg::kStatus, 3);
  // Without VERSION_1, or with what was not offered, the device does not accept.
  write(reg::kDriverFeaturesSelect, 0);
  write(reg::kDriverFeatures, 0);
  write(reg::kStatus, 11);
  CHECK(read(reg::kStatus) == 3);
  write(reg::kDriverFeaturesSelect, 1);
  write(reg::kDriverFeatures, 1);
  write(reg::kDriverFeaturesSelect, 0);
  write(reg::kDriverFeatures, 1);
  write(reg::kStatus, 11);
  CHECK(read(reg::kStatus) == 3);
  write(reg::kDriverFeatures, 0);
  write(reg::kStatus, 11);
  CHECK(read(reg::kStatus) == 11);
  write(reg::kDriverFeatures, 0xffff'ffff);  // too late
  CHECK(read(reg::kStatus) == 11);
  write(reg::kQueueSelect, 1);
  CHECK(read(reg::kQueueSizeMax) == 0);
  write(reg::kQueueSelect, 0);
  CHECK(read(reg::kQueueSizeMax) == 128);
  write(reg::kQueueSize, 7);
  write(reg::kQueueReady, 1);
  CHECK(read(reg::kQueueReady) == 0);
  CHECK((read(reg::kStatus) & 64) != 0);
  write(reg::kStatus, 0);
  CHECK(read(reg::kStatus) == 0);
  write(reg::kQueueNotify, 0);  // nobody there
  write(reg::kQueueNotify, 1u << 31);
  CHECK(read(5 * 0x200) == 0xffff'ffff);
}

TEST_CASE("random register writes and rings never disturb anything but the device") {
  Fixture f;
  test::Random random(5);
  guest::Process& process = f.kernel.spawn(f.vcpu, "bystander");
  const auto area = f.kernel.mmap(f.vcpu, process, {64 * kPageSize, {true, true, false}, {}, PageSize::k4K, "", {}});
  for (std::uint64_t i = 0; i < 64; ++i) REQUIRE(f.write(process, area.start + i * kPageSize, i ^ 0xabcd));
  const Gpa junk{0x3f'0000};  // the last 64 KiB, far above what the kernel has handed out
  for (int step = 0; step < 100'000; ++step) {
    const auto offset = static_cast<std::uint32_t>(4 * random.below(64u));
    std::uint32_t value = static_cast<std::uint32_t>(random.one_in(4) ? random.bits() : random.below(200u));
    if (offset >= reg::kDescriptorsLow && random.one_in(2))
      value = static_cast<std::uint32_t>(junk.value + 16 * random.below(1000u));
    // Rings anywhere else would be the guest overwriting itself.
    if (offset == reg::kDeviceLow || offset == reg::kDeviceHigh)
      value = offset == reg::kDeviceLow ? static_cast<std::uint32_t>(junk.value) : 0;
    if (offset == reg::kQueueReady) {
      f.vcpu.io_write(reg::kDeviceLow, static_cast<std::uint32_t>(junk.value + 0x8000));
      f.vcpu.io_write(reg::kDeviceHigh, 0);
    }
    if (random.one_in(50)) f.vcpu.io_write(reg::kStatus, random.one_in(2) ? 0 : 15);
    f.vcpu.store(junk + 2 * random.below(0x3000u), static_cast<std::uint16_t>(random.below(9u)));
    f.vcpu.io_write(offset, value);
    f.vcpu.io_read(offset);
  }
  for (std::uint64_t i = 0; i < 64; ++i) REQUIRE(f.read(process, area.start + i * kPageSize) == (i ^ 0xabcd));
  f.check();
}

TEST_CASE("impossible disks are refused") {
  CHECK_THROWS_AS(Fixture(with_disk(vmm::MmuMode::nested, 5000)), ConfigError);
  CHECK_THROWS_AS(Fixture(with_disk(vmm::MmuMode::nested, 1ull << 50)), ConfigError);
}

}  // namespace
}  // namespace vmem
