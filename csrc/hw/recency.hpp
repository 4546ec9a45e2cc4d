// Which slot of a set was touched longest ago, for sets of so many ways that looking at all of them takes long.
#pragma once

#include <cstdint>
#include <vector>

namespace vmem::hw {

/// The slots of each set in a ring, in the order of the times at which they were placed there. A touch costs nothing
/// here: the cache notes its time, and the slot is placed anew when it would be the oldest. That is exact: a slot's
/// touch is never earlier than its place, so one at the end that was not touched since is older than all others.
class RecencyRing {
 public:
  using Slot = std::uint32_t;

  void resize(std::uint32_t sets, std::uint32_t ways) {
    ways_ = ways;
    oldest_.resize(sets);
    places_.resize(std::size_t{sets} * ways);
    for (std::uint32_t set = 0; set < sets; ++set) {
      const Slot first = oldest_[set] = set * ways;
      for (Slot slot = first; slot < first + ways; ++slot)
        places_[slot] = {0, slot == first ? first + ways - 1 : slot - 1, slot + 1 == first + ways ? first : slot + 1};
    }
  }

  /// `touched(slot)` is the time of its latest touch, 0 if it is invalid.
  template <class Touched>
  [[gnu::always_inline]] Slot oldest(std::uint32_t set, const Touched& touched) {
    const Slot slot = oldest_[set];
    return places_[slot].time == touched(slot) ? slot : oldest_untouched(set, touched);
  }
  /// The oldest slot of the set has been touched now, which is later than all touches before.
  void renew_oldest(std::uint32_t set, std::uint64_t now) {
    Place& place = places_[oldest_[set]];
    place.time = now;
    oldest_[set] = place.newer;
  }
  /// The slot has become invalid. Those that are precede all others, in the order of their numbers.
  void expire(Slot slot) {
    Slot& oldest = oldest_[slot / ways_];
    places_[slot].time = 0;
    if (slot == oldest) oldest = places_[slot].newer;
    unlink(slot);
    const Slot newest = places_[oldest].older;
    const auto precedes = [&](Slot other) { return places_[other].time == 0 && other < slot; };
    if (!precedes(oldest)) {
      link_after(newest, slot);
      oldest = slot;
      return;
    }
    Slot before = oldest;
    while (before != newest && precedes(places_[before].newer)) before = places_[before].newer;
    link_after(before, slot);
  }

 private:
  struct Place {
    std::uint64_t time;
    Slot older, newer;  ///< the newest is followed by the oldest
  };

  template <class Touched>
  [[gnu::noinline]] Slot oldest_untouched(std::uint32_t set, Touched touched) {
    Slot slot = oldest_[set];
    for (; places_[slot].time != touched(slot); slot = oldest_[set]) {
      Place& place = places_[slot];
      place.time = touched(slot);
      const Slot next = oldest_[set] = place.newer;
      Slot before = place.older;
      while (before != next && places_[before].time > place.time) before = places_[before].older;
      if (places_[before].time > place.time) {  // older than all
        oldest_[set] = slot;
      } else if (before != place.older) {
        unlink(slot);
        link_after(before, slot);
      }
    }
    return slot;
  }
  void unlink(Slot slot) {
    const Place place = places_[slot];
    places_[place.older].newer = place.newer;
    places_[place.newer].older = place.older;
  }
  void link_after(Slot before, Slot slot) {
    const Slot after = places_[before].newer;
    places_[slot].older = before;
    places_[slot].newer = after;
    places_[before].newer = places_[after].older = slot;
  }

  std::uint32_t ways_ = 0;
  std::vector<Slot> oldest_;   ///< of each set
  std::vector<Place> places_;  ///< of each slot
};

}  // namespace vmem::hw
