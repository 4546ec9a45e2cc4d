// A byte for each key of a cache, so that a search looks at eight ways at once.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

namespace vmem::hw {

/// Bit 7 of a digest marks a valid slot, the rest is a hash of its key. Equal digests are a hint that keys are equal,
/// and different ones a proof that they are not.
class KeyDigests {
 public:
  void resize(std::size_t slots) { bytes_.resize(slots + std::size_t{2} * kLanes); }  // a search reads whole words
  void set(std::uint32_t slot, std::uint64_t key) { bytes_[slot] = digest(key); }
  void reset(std::uint32_t slot) { bytes_[slot] = 0; }

  /// The first of the slots [base, base + ways) whose digest is that of `key` and that `holds(slot)`; ~0 if there is
  /// none. `holds` may be asked for other valid slots as well, and must say no then.
  template <class Holds>
  [[gnu::always_inline]] std::uint32_t find(std::uint32_t base, std::uint32_t ways, std::uint64_t key,
                                            Holds&& holds) const {
    const std::uint64_t wanted = digest(key) * kEachLane;
    for (const std::uint32_t end = base + ways; base < end; base += 2 * kLanes) {
      // Bit 7 of a byte of the first word, bit 6 of one of the second.
      std::uint64_t equal = zero_lanes(word(base) ^ wanted) | zero_lanes(word(base + kLanes) ^ wanted) >> 1;
      for (; equal != 0; equal &= equal - 1) {
        const auto bit = static_cast<std::uint32_t>(std::countr_zero(equal));
        const std::uint32_t slot = base + bit / 8 + (bit % 8 == 6 ? kLanes : 0);
        if (holds(slot)) [[likely]]
          return slot;
      }
    }
    return ~std::uint32_t{0};
  }

 private:
  static_assert(std::endian::native == std::endian::little, "the lowest byte of a word is the first slot's");
  static constexpr std::uint32_t kLanes = 8;
  static constexpr std::uint64_t kEachLane = 0x0101'0101'0101'0101;

  static std::uint8_t digest(std::uint64_t key) {
    return static_cast<std::uint8_t>((key * 0x9e37'79b9'7f4a'7c15) >> 57 | 0x80);
  }
  std::uint64_t word(std::uint32_t slot) const {
    std::uint64_t word;
    std::memcpy(&word, bytes_.data() + slot, sizeof word);
    return word;
  }
  /// Bit 7 of each byte that is zero, and nothing else.
  static std::uint64_t zero_lanes(std::uint64_t word) {
    constexpr std::uint64_t kLow = 0x7f * kEachLane;
    return ~(((word & kLow) + kLow) | word | kLow);
  }

  std::vector<std::uint8_t> bytes_;
};

}  // namespace vmem::hw
