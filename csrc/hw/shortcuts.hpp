// Where in the first-level TLBs the pages looked up lately stand: a hit found here needs no search.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "core/access.hpp"
#include "core/address.hpp"
#include "hw/tlb_entry.hpp"

namespace vmem::hw {

/// The two sides of the first level.
enum class Side : std::uint8_t { data = 0, instruction = 1 };
constexpr Side side_of(AccessKind kind) { return static_cast<Side>(static_cast<unsigned>(kind) >> 1); }

/// A direct-mapped table of 4 KiB pages and kinds of access. Invariant: a page that is remembered is translated by
/// the entry at its place, which permits that kind. So whoever removes an entry or changes what is permitted forgets it
/// here. Forgetting too much is harmless: nothing is counted here.
class Shortcuts {
 public:
  /// Hits in a row. Keeps the time of touches in a register and writes it back when it goes; until then nobody else may
  /// touch a TLB.
  class Stretch {
   public:
    Stretch(Shortcuts& shortcuts, std::uint64_t& clock) : shortcuts_(shortcuts), clock_(clock), now_(clock) {}
    ~Stretch() { clock_ = now_; }
    Stretch(const Stretch&) = delete;
    Stretch& operator=(const Stretch&) = delete;

    /// Touches the entry that translates `va` if it is known to permit the access as it is; false: nothing was done.
    bool touch(std::uint64_t va, AccessKind kind) { return touch_page(key_of(va, kind)); }
    /// The same for the address of a page with the kind in its low bits.
    bool touch_page(std::uint64_t key) {
      const std::size_t at = index(product(key));
      if (shortcuts_.keys_[at] != key) return false;
      *shortcuts_.stamps_[at] = ++now_;
      return true;
    }

   private:
    Shortcuts& shortcuts_;
    std::uint64_t& clock_;
    std::uint64_t now_;
  };

  /// Whether a Stretch would touch the page.
  bool knows(std::uint64_t va, AccessKind kind) const {
    const std::uint64_t key = key_of(va, kind);
    return keys_[index(product(key))] == key;
  }
  /// `place` has just been touched; `allowed` has a bit for each AccessKind. All that it allows is remembered: loads
  /// and stores of one page follow each other.
  [[gnu::always_inline]] void remember(std::uint64_t va, Side side, TlbPlace place, std::uint8_t allowed) {
    if (side == Side::instruction) {
      remember_kind(va, AccessKind::fetch, place, allowed);
    } else {
      remember_kind(va, AccessKind::load, place, allowed);
      remember_kind(va, AccessKind::store, place, allowed);
    }
  }
  /// Bits 63:57 of `va` do not matter.
  void forget(std::uint64_t va, Side side, PageSize size) {
    if (size != PageSize::k4K) [[unlikely]] {
      forget_large();
      return;
    }
    forget_small(va & ~kPageMask, side);
  }
  /// The same for a 4 KiB page, of which `va` is the first address.
  [[gnu::always_inline]] void forget_small(std::uint64_t va, Side side) {
    const std::uint64_t page = product(va);
    if (side == Side::instruction) {
      keys_[index(page + 2 * kFactor)] = kNothing;
    } else {
      keys_[index(page)] = kNothing;
      keys_[index(page + kFactor)] = kNothing;
    }
  }
  void clear() {
    keys_.fill(kNothing);
    leads_to_large_.fill(0);
  }

 private:
  static constexpr unsigned kLineBits = 10;  ///< sixteen times the entries of usual first levels, so that few collide
  static constexpr std::size_t kLines = 1 << kLineBits;
  static constexpr std::uint64_t kNothing = ~std::uint64_t{0};  ///< no kind has all its bits set
  /// Of multiplicative hashing of pages, shifted so that a sign extension falls out of the product; pages in a row, and
  /// pages a power of two apart, spread evenly. And one line for each step of the kind, plus a carry at times: the
  /// lines of a page lie side by side.
  static constexpr std::uint64_t kFactor = (1ull << (64 - kLineBits)) + (0x9e37'79b9'7f4a'7c15 >> 19 << (64 - 57));
  static std::uint64_t key_of(std::uint64_t va, AccessKind kind) {
    return (va & ~kPageMask) | static_cast<std::uint64_t>(kind);
  }
  static std::uint64_t product(std::uint64_t key) { return key * kFactor; }
  static std::size_t index(std::uint64_t product) { return static_cast<std::size_t>(product >> (64 - kLineBits)); }

  [[gnu::always_inline]] void remember_kind(std::uint64_t va, AccessKind kind, TlbPlace place, std::uint8_t allowed) {
    if (((allowed >> static_cast<unsigned>(kind)) & 1) == 0) return;
    const std::uint64_t key = key_of(va, kind);
    const std::size_t at = index(product(key));
    keys_[at] = key;
    stamps_[at] = place.array->stamp(place.slot);
    if (place->size != PageSize::k4K) [[unlikely]]
      note_large(at);
  }
  void note_large(std::size_t at) { leads_to_large_[at / 64] |= 1ull << (at % 64); }
  /// Any number of lines may lead to the entry that goes.
  void forget_large() {
    for (std::size_t word = 0; word < leads_to_large_.size(); ++word) {
      for (std::uint64_t bits = leads_to_large_[word]; bits != 0; bits &= bits - 1)
        keys_[word * 64 + static_cast<std::size_t>(std::countr_zero(bits))] = kNothing;
      leads_to_large_[word] = 0;
    }
  }

  static constexpr std::array<std::uint64_t, kLines> nothing() {
    std::array<std::uint64_t, kLines> keys{};
    keys.fill(kNothing);
    return keys;
  }

  // A line has an element in each; two arrays, because an address with a scale of 8 costs nothing to compute.
  std::array<std::uint64_t, kLines> keys_ = nothing();       ///< address of the page | AccessKind
  std::array<std::uint64_t*, kLines> stamps_{};              ///< where a touch writes the time
  std::array<std::uint64_t, kLines / 64> leads_to_large_{};  ///< a bit for each line that does, or did before
};

}  // namespace vmem::hw
