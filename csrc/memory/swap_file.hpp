// The host's swap space: a real file, in slots of 4 KiB.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "core/address.hpp"
#include "memory/mapping.hpp"

namespace vmem::memory {

struct SwapSlot {
  std::uint32_t value = 0;
  constexpr auto operator<=>(const SwapSlot&) const = default;
};

/// Owns the file, which has no name and which nobody else can open: it is gone when the process ends, however it ends.
/// A frame that nobody wrote takes a slot without bytes. A slot is readable only after all of its bytes were written,
/// so what a full disk cut off is never read back. Knows slots, not whose they are.
class SwapFile {
 public:
  static constexpr std::uint64_t kMaxSlots = 1ull << 29;  ///< 2 TiB

  /// `bytes`: a multiple of 4 KiB; 0 is no swap, and no file. `directory`: an existing one that can be written to;
  /// empty is the system's for temporary files. ConfigError otherwise.
  SwapFile(std::uint64_t bytes, const std::string& directory);
  ~SwapFile();
  SwapFile(const SwapFile&) = delete;
  SwapFile& operator=(const SwapFile&) = delete;

  /// Takes a slot for a frame of zeros; nothing when none is free.
  std::optional<SwapSlot> store_zeros();
  /// Takes a slot and writes the frame to it. Nothing when none is free, or when the disk refuses the bytes, which
  /// counts a write error.
  std::optional<SwapSlot> store(std::span<const std::byte, kPageSize> frame);
  bool has_bytes(SwapSlot slot) const { return (word(slot) & kHasBytes) != 0; }
  /// Part of a slot's frame, from byte `offset`. False: the disk did not give back what was written to it.
  bool load(SwapSlot slot, std::uint64_t offset, std::span<std::byte> out) const;
  void release(SwapSlot slot);

  std::uint64_t slots() const { return slots_; }
  std::uint64_t used() const { return used_; }
  std::uint64_t free() const { return slots_ - used_; }
  /// Slots in use that hold bytes.
  std::uint64_t used_with_bytes() const { return used_with_bytes_; }
  /// Places of the file that have ever been written: what it takes on the disk. Slots that hold bytes use them again
  /// first.
  std::uint64_t written_places() const { return written_places_; }
  std::uint64_t write_errors() const { return write_errors_; }
  bool is_used(SwapSlot slot) const { return slot.value < fresh_ && (word(slot) & kUsed) != 0; }

 private:
  // A slot's word: flags, and the next free slot plus one.
  static constexpr std::uint32_t kUsed = 1u << 31;
  static constexpr std::uint32_t kHasBytes = 1u << 30;
  static constexpr std::uint32_t kPlaceWritten = 1u << 29;  ///< the file holds bytes there, maybe of an earlier frame
  static constexpr std::uint32_t kNext = kPlaceWritten - 1;

  std::uint32_t& word(SwapSlot slot) { return words()[slot.value]; }
  std::uint32_t word(SwapSlot slot) const { return words()[slot.value]; }
  std::uint32_t* words() const { return reinterpret_cast<std::uint32_t*>(words_.data()); }
  std::optional<SwapSlot> take(bool place_written);
  std::optional<SwapSlot> take_fresh();
  void push_free(SwapSlot slot);

  std::uint64_t slots_;
  int file_ = -1;
  LazyMapping words_;
  std::uint32_t fresh_ = 0;               ///< slots from here on have never been used
  std::uint32_t free_lists_[2] = {0, 0};  ///< first free slot plus one; [1]: the place in the file has been written
  std::uint64_t used_ = 0;
  std::uint64_t used_with_bytes_ = 0;
  std::uint64_t written_places_ = 0;
  std::uint64_t write_errors_ = 0;
};

}  // namespace vmem::memory
