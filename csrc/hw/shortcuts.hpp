// Where in the first-level TLBs the pages looked up lately stand: a hit found here needs no search.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/access.hpp"
#include "core/address.hpp"
#include "hw/tlb_entry.hpp"

namespace vmem::hw {

/// The two sides of the first level.
enum class Side : std::uint8_t { data = 0, instruction = 1 };
constexpr Side side_of(AccessKind kind) { return static_cast<Side>(static_cast<unsigned>(kind) >> 1); }

/// A direct-mapped table of 4 KiB pages for each kind of access. Invariant: a page that is remembered is translated by
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
      const std::size_t at = index(key);
      const Line& line = shortcuts_.lines_[at];
      if (line.key != key) return false;
      ++now_;
      if (line.stamp != nullptr) [[likely]] {
        *line.stamp = now_;
      } else {
        shortcuts_.places_[at].touch(now_);
      }
      return true;
    }

   private:
    Shortcuts& shortcuts_;
    std::uint64_t& clock_;
    std::uint64_t now_;
  };

  /// `place` has just been touched; `allowed` has a bit for each AccessKind.
  void remember(std::uint64_t va, AccessKind kind, TlbPlace place, std::uint8_t allowed) {
    if (((allowed >> static_cast<unsigned>(kind)) & 1) == 0) return;
    const std::uint64_t key = key_of(va, kind);
    const std::size_t at = index(key);
    lines_[at] = {key, place.array->stamp(place.slot)};
    places_[at] = place;
    has_large_ |= place->size != PageSize::k4K;
  }
  /// `va` may lack its sign extension.
  void forget(std::uint64_t va, Side side, PageSize size) {
    if (size != PageSize::k4K) {
      if (has_large_) clear();  // any number of lines may lead to the entry
    } else if (side == Side::instruction) {
      lines_[index(key_of(va, AccessKind::fetch))] = Line{};
    } else {
      lines_[index(key_of(va, AccessKind::load))] = Line{};
      lines_[index(key_of(va, AccessKind::store))] = Line{};
    }
  }
  void clear() {
    lines_.fill(Line{});
    has_large_ = false;
  }

 private:
  static constexpr unsigned kLineBits = 8;  ///< four times the entries of usual first levels, so that few collide
  static constexpr std::size_t kLines = 1 << kLineBits;
  static constexpr std::uint64_t kNothing = ~std::uint64_t{0};  ///< no kind has all its bits set
  struct Line {
    std::uint64_t key = kNothing;    ///< address of the page | AccessKind
    std::uint64_t* stamp = nullptr;  ///< where a touch writes the time; null if it does something else
  };

  static std::uint64_t key_of(std::uint64_t va, AccessKind kind) {
    return (va & ~kPageMask) | static_cast<std::uint64_t>(kind);
  }
  /// Folded, because powers of two apart is a common distance.
  static std::size_t index(std::uint64_t key) {
    const std::uint64_t page = key >> kPageShift;
    return static_cast<std::size_t>(((page ^ (page >> kLineBits)) & (kLines - 1)) | ((key & 3) << kLineBits));
  }

  std::array<Line, 4 * kLines> lines_{};  ///< those of the kind that does not exist stay empty
  std::array<TlbPlace, 4 * kLines> places_{};
  bool has_large_ = false;
};

}  // namespace vmem::hw
