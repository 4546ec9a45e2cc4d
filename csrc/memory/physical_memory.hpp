// The bytes of a physical memory.
#pragma once

#include <cstring>
#include <span>

#include "core/address.hpp"
#include "memory/mapping.hpp"

namespace vmem::memory {

/// Physical memory as real bytes, zero until written. Knows which frames were ever written, so that freeing the others
/// costs nothing and a freed frame never shows what its previous owner wrote. Who owns a frame is not its business
/// (frame_table.hpp).
class PhysicalMemory {
 public:
  /// `bytes`: a positive multiple of 4 KiB, at most 2^52; otherwise ConfigError.
  explicit PhysicalMemory(std::uint64_t bytes);

  std::uint64_t size() const { return bytes_.size(); }
  std::uint64_t frames() const { return size() >> kPageShift; }
  std::byte* data() const { return bytes_.data(); }
  bool contains(std::uint64_t pa, std::uint64_t length) const { return pa <= size() && length <= size() - pa; }

  /// Typed access. The caller has checked that the address exists and is aligned to T.
  template <class T>
  T load(std::uint64_t pa) const {
    T value;
    std::memcpy(&value, data() + pa, sizeof value);
    return value;
  }
  template <class T>
  void store(std::uint64_t pa, T value) {
    mark_written(pa >> kPageShift);
    std::memcpy(data() + pa, &value, sizeof value);
  }
  /// Range access with bounds check: ConfigError outside the memory.
  void read(std::uint64_t pa, std::span<std::byte> out) const;
  void write(std::uint64_t pa, std::span<const std::byte> bytes);

  /// Everything that writes bytes of a frame marks it first. A frame once marked stays so until it is scrubbed.
  void mark_written(std::uint64_t frame) { written_words()[frame >> 6] |= 1ull << (frame & 63); }
  bool is_written(std::uint64_t frame) const { return ((written_words()[frame >> 6] >> (frame & 63)) & 1) != 0; }
  /// Makes the frames read as zeros again and gives their memory back to the operating system. Returns how many had
  /// been written.
  std::uint64_t scrub(std::uint64_t first_frame, std::uint64_t count);

 private:
  std::uint64_t* written_words() const { return reinterpret_cast<std::uint64_t*>(written_.data()); }

  LazyMapping bytes_;
  LazyMapping written_;  ///< one bit a frame
};

}  // namespace vmem::memory
