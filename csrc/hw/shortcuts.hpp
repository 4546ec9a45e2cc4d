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

/// A direct-mapped table of 4 KiB pages for each side. Invariant: a page that is remembered is translated by the entry
/// at its place, which permits the kinds of access remembered with it. So whoever removes an entry or changes what is
/// permitted forgets it here. Forgetting too much is harmless: nothing is counted here.
class Shortcuts {
 public:
  /// Touches the entry that translates `va` if it is known to permit the access as it is; false: nothing was done.
  bool touch(std::uint64_t va, AccessKind kind) {
    // To touch the latest once more changes no policy's state.
    return permits(latest_[number(side_of(kind))], va, kind) || touch_another(va, kind);
  }
  /// The same for a stream that does not come back to the page it was on.
  bool touch_another(std::uint64_t va, AccessKind kind) {
    const std::size_t side = number(side_of(kind));
    const Line& line = lines_[index(va, side)];
    if (!permits(line.page, va, kind)) return false;
    latest_[side] = line.page;
    line.place.touch();
    return true;
  }
  /// `place` has just been touched; `allowed` has a bit for each AccessKind.
  void remember(std::uint64_t va, Side side, TlbPlace place, std::uint8_t allowed) {
    constexpr std::uint8_t kKindBits = (1 << kAccessKinds) - 1;
    const std::uint64_t page = (va & ~kPageMask) | (allowed & kKindBits);
    lines_[index(va, number(side))] = {page, place};
    latest_[number(side)] = page;
    has_large_ |= place->size != PageSize::k4K;
  }
  /// `va` may lack its sign extension.
  void forget(std::uint64_t va, Side side, PageSize size) {
    latest_[number(side)] = 0;
    if (size == PageSize::k4K) {
      lines_[index(va, number(side))] = Line{};
    } else if (has_large_) {  // any number of lines may lead to the entry
      clear();
    }
  }
  void clear() {
    lines_.fill(Line{});
    latest_.fill(0);
    has_large_ = false;
  }

 private:
  static constexpr std::size_t kLines = 128;
  struct alignas(32) Line {
    std::uint64_t page = 0;  ///< address of the page | permitted kinds; 0 permits none
    TlbPlace place;
  };

  static bool permits(std::uint64_t page, std::uint64_t va, AccessKind kind) {
    return ((page ^ va) >> kPageShift) == 0 && ((page >> static_cast<unsigned>(kind)) & 1) != 0;
  }
  static std::size_t number(Side side) { return static_cast<std::size_t>(side); }
  static std::size_t index(std::uint64_t va, std::size_t side) {
    const std::uint64_t page = va >> kPageShift;
    // Folded, because powers of two apart is a common distance.
    return (static_cast<std::size_t>(page ^ (page >> 7)) & (kLines - 1)) + side * kLines;
  }

  std::array<Line, 2 * kLines> lines_{};
  std::array<std::uint64_t, 2> latest_{};  ///< the page touched last on each side, in the form of Line::page
  bool has_large_ = false;
};

}  // namespace vmem::hw
