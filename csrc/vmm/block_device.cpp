#include "vmm/block_device.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "core/error.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {
namespace {

namespace block = virtio::block;

std::uint64_t checked(const Vm& vm, const DiskConfig& config) {
  const std::string who = "VM '" + vm.config().name + "': ";
  constexpr std::uint64_t kMost = 1ull << 46;
  if (config.bytes % kPageSize != 0 || config.bytes > kMost)
    throw ConfigError(who + "a disk of " + std::to_string(config.bytes) +
                      " bytes: accepted is a multiple of 4096 up to 64 TiB");
  if (config.bandwidth == 0) throw ConfigError(who + "a disk bandwidth of 0 bytes a second: accepted is 1 or more");
  return config.bytes;
}

}  // namespace

BlockDevice::BlockDevice(Vm& vm, std::uint32_t window, const DiskConfig& config)
    : VirtioDevice(vm, window, virtio::kBlockDeviceId, block::kSegmentsMax | block::kBlockSize | block::kFlush,
                   {kQueueSize}),
      config_(config),
      contents_(checked(vm, config)) {}

std::uint32_t BlockDevice::read_config(std::uint32_t offset) {
  const std::uint64_t sectors = bytes() >> block::kSectorShift;
  switch (offset) {
    case block::kCapacity:
      return static_cast<std::uint32_t>(sectors);
    case block::kCapacity + 4:
      return static_cast<std::uint32_t>(sectors >> 32);
    case block::kSegmentsAt:
      return kMaxSegments;
    case block::kBlockSizeAt:
      return 1u << block::kSectorShift;
    default:
      return 0;
  }
}

void BlockDevice::on_notify(hw::Vcpu& vcpu, std::uint32_t queue) {
  GuestMemory memory(vm(), vcpu);
  virtio::Chain chain;
  while (pop(memory, queue, chain)) handle(vcpu, memory, chain);
}

void BlockDevice::handle(hw::Vcpu& vcpu, GuestMemory& memory, const virtio::Chain& chain) {
  virtio::Stream out(chain.readable);
  block::Header header{};
  const std::uint64_t writable = virtio::total_bytes(chain.writable);
  // Without a header there is no request, and without a byte for the status no way to answer it.
  if (!out.read(memory, std::as_writable_bytes(std::span(&header, 1))) || writable == 0) {
    need_reset(vcpu, "a block request without a header or a status byte");
    return;
  }
  virtio::Stream in(chain.writable);
  Served served = serve(memory, header, out, in);
  if (served.status != block::Status::ok) ++stat_.errors;
  // The status is the last byte of all.
  if (in.left() > 1) in.each(in.left() - 1, [](Gpa, std::uint64_t, std::uint64_t) { return true; });
  in.write(memory, std::as_bytes(std::span(&served.status, 1)));
  push_at(vcpu, finish_time(vcpu.now(), served.moved), 0, chain.head, served.written + 1);
}

BlockDevice::Served BlockDevice::serve(GuestMemory& memory, const block::Header& header, virtio::Stream& out,
                                       virtio::Stream& in) {
  switch (header.operation) {
    case block::Operation::in:
      ++stat_.reads;
      return read_sectors(memory, header.sector, in);
    case block::Operation::out:
      ++stat_.writes;
      return write_sectors(memory, header.sector, out);
    case block::Operation::flush:
      ++stat_.flushes;
      return {block::Status::ok, 0, 0};
    case block::Operation::get_id: {
      std::array<char, block::kIdBytes> id{};
      vm().config().name.copy(id.data(), id.size());
      if (in.left() <= id.size()) return {block::Status::io_error, 0, 0};
      in.write(memory, std::as_bytes(std::span(id)));
      return {block::Status::ok, block::kIdBytes, 0};
    }
  }
  return {block::Status::unsupported, 0, 0};
}

bool BlockDevice::holds(std::uint64_t sector, std::uint64_t count) const {
  return !fails_ && count % (1u << block::kSectorShift) == 0 && sector <= bytes() >> block::kSectorShift &&
         count <= bytes() - (sector << block::kSectorShift);
}

BlockDevice::Served BlockDevice::read_sectors(GuestMemory& memory, std::uint64_t sector, virtio::Stream& in) {
  const std::uint64_t count = in.left() - 1;
  if (!holds(sector, count)) return {block::Status::io_error, 0, 0};
  const std::uint64_t start = sector << block::kSectorShift;
  in.each(count, [&](Gpa at, std::uint64_t from, std::uint64_t part) {
    for (std::uint64_t done = 0; done < part;) {
      const std::uint64_t byte = start + from + done;
      const std::uint64_t piece = std::min(part - done, kPageSize - byte % kPageSize);
      if (contents_.is_written(byte >> kPageShift)) {
        memory.write(at + done, {contents_.data() + byte, piece});
      } else {
        memory.zero(at + done, piece);
      }
      done += piece;
    }
    return true;
  });
  stat_.read_bytes += count;
  return {block::Status::ok, static_cast<std::uint32_t>(count), count};
}

BlockDevice::Served BlockDevice::write_sectors(GuestMemory& memory, std::uint64_t sector, virtio::Stream& out) {
  const std::uint64_t count = out.left();
  if (!holds(sector, count)) return {block::Status::io_error, 0, 0};
  const std::uint64_t start = sector << block::kSectorShift;
  HostStat& host = vm().host().stat;
  const std::uint64_t read_back = host.swapped_in;
  std::array<std::byte, kPageSize> piece{};
  out.each(count, [&](Gpa at, std::uint64_t from, std::uint64_t part) {
    for (std::uint64_t done = 0; done < part;) {
      const std::uint64_t byte = start + from + done;
      const std::uint64_t length = std::min(part - done, kPageSize - byte % kPageSize);
      const std::span bytes = std::span(piece).first(length);
      memory.read(at + done, bytes);
      const bool zeros = std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
      if (!zeros || contents_.is_written(byte >> kPageShift)) contents_.write(byte, bytes);
      done += length;
    }
    return true;
  });
  host.double_paging += host.swapped_in - read_back;
  stat_.written_bytes += count;
  return {block::Status::ok, 0, count};
}

Nanoseconds BlockDevice::finish_time(Nanoseconds now, std::uint64_t count) {
  // Rounded up, and in two parts: nothing overflows for any disk.
  const std::uint64_t whole = count / config_.bandwidth, rest = count % config_.bandwidth;
  const Nanoseconds transfer =
      whole * kSecond + (rest * kMillisecond / config_.bandwidth) * 1000 +
      (rest * kMillisecond % config_.bandwidth * 1000 + config_.bandwidth - 1) / config_.bandwidth;
  busy_until_ = std::max(now, busy_until_) + transfer;
  return busy_until_ + config_.latency;
}

}  // namespace vmem::vmm
