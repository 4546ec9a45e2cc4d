// The yardstick that vmem's speeds are stated against: the smallest honest loop over a two-level LRU TLB. No walks, no
// statistics, no permissions, no last-page shortcut. And the expansion of a page-compact trace into single references,
// which both sides then read.
#include <array>
#include <cstddef>
#include <cstdint>

namespace {

template <std::uint32_t kSets, std::uint32_t kWays>
struct LruCache {
  std::array<std::uint64_t, kSets * kWays> tags{};
  std::array<std::uint64_t, kSets * kWays> stamps{};

  bool access(std::uint64_t page, std::uint64_t now) {
    const std::size_t base = (page % kSets) * kWays;
    std::size_t oldest = base;
    for (std::size_t slot = base; slot < base + kWays; ++slot) {
      if (tags[slot] == page) {
        stamps[slot] = now;
        return true;
      }
      if (stamps[slot] < stamps[oldest]) oldest = slot;
    }
    tags[oldest] = page;
    stamps[oldest] = now;
    return false;
  }
};

/// The geometry of the `skylake-sp` preset's 4 KiB TLBs.
struct TwoLevelLru {
  LruCache<16, 8> l1i;
  LruCache<16, 4> l1d;
  LruCache<128, 12> l2;
};

struct Run {
  std::uint64_t page;  // bits 1:0: kind of the first reference
  std::uint32_t loads, stores;
};

/// What is left of a run whose references are being written out.
struct Open {
  std::uint64_t page = 0;
  std::uint64_t loads = 0, stores = 0;
  std::uint8_t kind = 0;
};

struct Writer {
  std::uint64_t* addresses;
  std::uint8_t* kinds;
  std::uint64_t count = 0;
  std::uint64_t offset = 0;

  void emit(Open& run) {
    const bool store = run.kind == 1 ? run.stores > 0 : run.loads == 0;
    --(store ? run.stores : run.loads);
    offset = (offset + 8) & 4088;
    addresses[count] = run.page + offset;
    kinds[count++] = store ? 1 : run.kind == 2 ? 2 : 0;
  }
};

bool empty(const Open& run) { return run.loads + run.stores == 0; }

}  // namespace

extern "C" {

/// Returns the number of L2 misses.
std::uint64_t yardstick(const std::uint64_t* addresses, const std::uint8_t* kinds, std::uint64_t count) {
  static TwoLevelLru tlb;
  tlb = TwoLevelLru{};
  std::uint64_t misses = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t page = addresses[i] >> 12;
    const bool hit = kinds[i] == 2 ? tlb.l1i.access(page, i + 1) : tlb.l1d.access(page, i + 1);
    if (!hit && !tlb.l2.access(page, i + 1)) ++misses;
  }
  return misses;
}

/// Writes the references of `runs` one by one, at most `room`; fetches and data alternate three to one while both last.
/// Returns how many.
std::uint64_t expand(const Run* runs, std::uint64_t count, std::uint64_t* addresses, std::uint8_t* kinds,
                     std::uint64_t room) {
  Writer out{addresses, kinds};
  Open open[2];
  const auto finish = [&](int side) {
    while (!empty(open[side]) && out.count < room) {
      out.emit(open[side]);
      for (int i = 0; side == 0 && i < 3 && !empty(open[1]) && out.count < room; ++i) out.emit(open[1]);
      if (side == 1 && out.count % 4 == 0 && !empty(open[0]) && out.count < room) out.emit(open[0]);
    }
  };
  for (std::uint64_t i = 0; i < count && out.count < room; ++i) {
    const auto kind = static_cast<std::uint8_t>(runs[i].page & 3);
    const int side = kind == 2 ? 1 : 0;
    finish(side);
    open[side] = {runs[i].page & ~4095ull, runs[i].loads, runs[i].stores, kind};
    if (out.count < room) out.emit(open[side]);
  }
  finish(0);
  finish(1);
  return out.count;
}

}  // extern "C"
