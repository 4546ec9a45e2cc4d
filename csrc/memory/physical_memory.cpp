#include "memory/physical_memory.hpp"

#include <algorithm>
#include <bit>
#include <string>

#include "core/error.hpp"

namespace vmem::memory {
namespace {

std::uint64_t checked_size(std::uint64_t bytes) {
  if (bytes == 0 || (bytes & kPageMask) != 0 || bytes > (1ull << 44))
    throw ConfigError("memory size " + std::to_string(bytes) +
                      " bytes: accepted is a positive multiple of 4096 up to 16 TiB");
  return bytes;
}

[[noreturn]] void outside(std::uint64_t pa, std::uint64_t length, std::uint64_t size) {
  throw ConfigError("physical address " + hex(pa) + " + " + std::to_string(length) +
                    " bytes lies outside the memory of " + hex(size) + " bytes");
}

}  // namespace

PhysicalMemory::PhysicalMemory(std::uint64_t bytes)
    : bytes_(checked_size(bytes)), written_(align_up((bytes >> kPageShift) / 8 + 8, kPageSize)) {}

void PhysicalMemory::read(std::uint64_t pa, std::span<std::byte> out) const {
  if (!contains(pa, out.size())) outside(pa, out.size(), size());
  std::memcpy(out.data(), data() + pa, out.size());
}

void PhysicalMemory::write(std::uint64_t pa, std::span<const std::byte> bytes) {
  if (!contains(pa, bytes.size())) outside(pa, bytes.size(), size());
  if (bytes.empty()) return;
  for (std::uint64_t frame = pa >> kPageShift; frame <= (pa + bytes.size() - 1) >> kPageShift; ++frame)
    mark_written(frame);
  std::memcpy(data() + pa, bytes.data(), bytes.size());
}

std::uint64_t PhysicalMemory::scrub(std::uint64_t first_frame, std::uint64_t count) {
  std::uint64_t scrubbed = 0;
  const std::uint64_t end = first_frame + count;
  for (std::uint64_t frame = first_frame; frame < end;) {
    if (!is_written(frame)) {
      const bool word_is_clean = (frame & 63) == 0 && written_words()[frame >> 6] == 0;
      frame += word_is_clean ? std::min<std::uint64_t>(64, end - frame) : 1;
      continue;
    }
    std::uint64_t run = 0;  // one madvise for each run of written frames
    for (; frame + run < end && is_written(frame + run); ++run)
      written_words()[(frame + run) >> 6] &= ~(1ull << ((frame + run) & 63));
    bytes_.release(frame << kPageShift, run << kPageShift);
    scrubbed += run;
    frame += run;
  }
  return scrubbed;
}

}  // namespace vmem::memory
