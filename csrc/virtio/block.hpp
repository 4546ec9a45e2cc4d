// The block device's protocol (virtio 1.2, 5.2).
#pragma once

#include <cstdint>

namespace vmem::virtio::block {

inline constexpr std::uint32_t kSectorShift = 9;

inline constexpr std::uint64_t kSegmentsMax = 1ull << 2, kBlockSize = 1ull << 6, kFlush = 1ull << 9;

/// Configuration space.
inline constexpr std::uint32_t kCapacity = 0;      ///< le64, sectors of 512 bytes
inline constexpr std::uint32_t kSegmentsAt = 12;   ///< le32, data buffers a request may have
inline constexpr std::uint32_t kBlockSizeAt = 20;  ///< le32, bytes

enum class Operation : std::uint32_t { in = 0, out = 1, flush = 4, get_id = 8 };

/// Begins a request; data follows, then one byte that the device writes.
struct Header {
  Operation operation;
  std::uint32_t reserved;
  std::uint64_t sector;
};
static_assert(sizeof(Header) == 16);

enum class Status : std::uint8_t { ok = 0, io_error = 1, unsupported = 2 };
inline constexpr std::uint32_t kIdBytes = 20;

}  // namespace vmem::virtio::block
