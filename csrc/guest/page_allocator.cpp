#include "guest/page_allocator.hpp"

#include <algorithm>
#include <bit>
#include <string>

#include "core/error.hpp"
#include "guest/page_array.hpp"

namespace vmem::guest {
namespace {

constexpr std::uint64_t kZoneEnds[kZones] = {16ull << 8, 1ull << 20, ~0ull};  // 16 MiB, 4 GiB
constexpr int kCostlyOrder = 3;   // PAGE_ALLOC_COSTLY_ORDER: not worth reclaiming for
constexpr int kMostRetries = 16;  // MAX_RECLAIM_RETRIES

}  // namespace

PageAllocator::PageAllocator(hw::Vcpu& boot, std::uint64_t first, std::uint64_t end, std::size_t vcpus)
    : vcpus_(vcpus) {
  std::array<std::uint64_t, kZones> managed{};
  for (int zone = 0; zone < kZones; ++zone) {
    const auto at = static_cast<std::size_t>(zone);
    const std::uint64_t low = std::max(first, zone == 0 ? 0 : kZoneEnds[at - 1]);
    const std::uint64_t high = std::min(end, kZoneEnds[at]);
    if (low >= high) continue;
    zones_[at].first = low;
    zones_[at].end = high;
    managed[at] = high - low;
    top_ = zone;
    buddy(zone).initialise(boot, Gfn{low}, Gfn{high});
  }
  const auto marks = guest::watermarks(managed);
  const auto reserve = lowmem_reserve(managed);
  total_reserve_ = guest::total_reserve(managed);
  for (int zone = 0; zone < kZones; ++zone) {
    const auto at = static_cast<std::size_t>(zone);
    ZoneLimits& limits = zones_[at];
    limits.marks = marks[at];
    limits.reserve = reserve[at][static_cast<std::size_t>(top_)];
    limits.per_cpu = per_cpu_limits(managed[at], marks[at].low, vcpus);
    auto entry = boot.load<Zone>(zone_entry(zone));
    entry.min = marks[at].min;
    entry.low = marks[at].low;
    entry.high = marks[at].high;
    std::copy(reserve[at].begin(), reserve[at].end(), entry.reserve);
    boot.store(zone_entry(zone), entry);
  }
}

bool PageAllocator::is_above(hw::Vcpu& vcpu, int zone, int order, Mark mark) const {
  const ZoneLimits& limits = zones_[static_cast<std::size_t>(zone)];
  const std::uint64_t least = mark == Mark::none  ? 0
                              : mark == Mark::min ? limits.marks.min + limits.reserve
                                                  : limits.marks.low + limits.reserve;
  // __zone_watermark_ok: what is left after the allocation, but for one frame, must exceed the mark.
  return get<&Zone::free>(vcpu, zone_entry(zone)) >= least + (1ull << order);
}

std::optional<Gfn> PageAllocator::allocate_above(hw::Vcpu& vcpu, int order, PageUse use, Mark mark) {
  for (int zone = top_; zone >= 0; --zone) {
    if (zones_[static_cast<std::size_t>(zone)].end == 0) continue;
    if (mark != Mark::none && !is_above(vcpu, zone, order, mark)) continue;
    if (const auto gfn = order == 0 ? take_single(vcpu, zone, use) : buddy(zone).allocate(vcpu, order, use)) return gfn;
  }
  return std::nullopt;
}

std::optional<Gfn> PageAllocator::allocate(hw::Vcpu& vcpu, int order, PageUse use, Need need) {
  if (const auto gfn = allocate_above(vcpu, order, use, Mark::low)) [[likely]]
    return gfn;
  return allocate_slowly(vcpu, order, use, need);
}

std::optional<Gfn> PageAllocator::allocate_slowly(hw::Vcpu& vcpu, int order, PageUse use, Need need) {
  if (listener_ != nullptr) listener_->flush(vcpu);
  if (need == Need::spare) return allocate_above(vcpu, order, use, Mark::min);
  if (pressure_ != nullptr) pressure_->on_low_memory(vcpu);
  if (const auto gfn = allocate_above(vcpu, order, use, Mark::min)) return gfn;
  if (need == Need::desperate) {
    if (const auto gfn = allocate_above(vcpu, order, use, Mark::none)) return gfn;
    drain(vcpu);
    return allocate_above(vcpu, order, use, Mark::none);
  }
  if (need == Need::modest || (order > kCostlyOrder && need == Need::once)) return std::nullopt;
  const int rounds = need == Need::once || order > kCostlyOrder ? 1 : kMostRetries;
  for (int fruitless = 0; fruitless < rounds;) {
    const std::uint64_t freed = pressure_ != nullptr ? pressure_->reclaim(vcpu, order) : 0;
    if (freed == 0) {
      drain(vcpu);
      return allocate_above(vcpu, order, use, Mark::min);
    }
    if (const auto gfn = allocate_above(vcpu, order, use, Mark::min)) return gfn;
    ++fruitless;
  }
  return std::nullopt;
}

std::optional<Gfn> PageAllocator::allocate_gigantic(hw::Vcpu& vcpu, int order, PageUse use) {
  for (int zone = top_; zone >= 0; --zone) {
    if (!is_above(vcpu, zone, order, Mark::low)) continue;
    if (const auto gfn = buddy(zone).allocate_gigantic(vcpu, order, use)) return gfn;
  }
  return std::nullopt;
}

std::optional<Gfn> PageAllocator::allocate_span(hw::Vcpu& vcpu, std::uint64_t frames, PageUse use) {
  for (int zone = top_; zone >= 0; --zone) {
    const ZoneLimits& limits = zones_[static_cast<std::size_t>(zone)];
    if (get<&Zone::free>(vcpu, zone_entry(zone)) < limits.marks.high + limits.reserve + frames) continue;
    if (const auto gfn = take_span(vcpu, zone, frames, use)) return gfn;
  }
  return std::nullopt;
}

std::optional<Gfn> PageAllocator::take_span(hw::Vcpu& vcpu, int zone, std::uint64_t frames, PageUse use) const {
  const Buddy of_zone = buddy(zone);
  const int order = static_cast<int>(std::bit_width(frames - 1));
  if (order > kMaxOrder) return of_zone.allocate_span(vcpu, frames, use);
  const auto block = of_zone.allocate(vcpu, order, use);
  if (!block) return std::nullopt;
  Buddy::split(vcpu, *block, order);
  for (std::uint64_t at = frames; at < 1ull << order; ++at) of_zone.free(vcpu, *block + at, 0);
  return block;
}

std::optional<Gfn> PageAllocator::take_single(hw::Vcpu& vcpu, int zone, PageUse use) {
  const Gpa at = list_entry(static_cast<std::size_t>(vcpu.id()), zone);
  auto list = vcpu.load<PerCpuPages>(at);
  if (list.count == 0 && !refill(vcpu, zone, list)) return std::nullopt;
  const Gfn gfn{list.head};
  auto page = vcpu.load<Page>(page_entry(gfn));
  list.head = page.next;
  --list.count;
  list.spills /= 2;
  if (list.head == 0) {
    list.tail = 0;
  } else {
    set<&Page::previous>(vcpu, page_entry(Gfn{list.head}), 0);
  }
  vcpu.store(at, list);
  page.use = use;
  page.order = 0;
  page.flags = 0;
  page.references = 1;
  vcpu.store(page_entry(gfn), page);
  return gfn;
}

bool PageAllocator::refill(hw::Vcpu& vcpu, int zone, PerCpuPages& list) {
  const std::uint64_t batch = zones_[static_cast<std::size_t>(zone)].per_cpu.batch;
  for (std::uint64_t taken = 0; taken < batch; ++taken) {
    const auto gfn = buddy(zone).allocate(vcpu, 0, PageUse::per_cpu);
    if (!gfn) break;
    auto page = vcpu.load<Page>(page_entry(*gfn));
    page.references = 0;
    page.next = 0;
    page.previous = list.tail;
    vcpu.store(page_entry(*gfn), page);
    if (list.tail != 0) {
      set<&Page::next>(vcpu, page_entry(Gfn{list.tail}), short_number(*gfn));
    } else {
      list.head = short_number(*gfn);
    }
    list.tail = short_number(*gfn);
    ++list.count;
  }
  return list.count != 0;
}

void PageAllocator::give(hw::Vcpu& vcpu, Gfn gfn, int order) {
  const int zone = zone_of(gfn);
  if (on_free_ != OnFree::keep) fill(vcpu, gfn, order);
  if (order != 0) {
    give(vcpu, zone, gfn, order);
    return;
  }
  const Gpa at = list_entry(static_cast<std::size_t>(vcpu.id()), zone);
  auto list = vcpu.load<PerCpuPages>(at);
  auto page = vcpu.load<Page>(page_entry(gfn));
  page.use = PageUse::per_cpu;
  page.order = 0;
  page.flags = 0;
  page.references = 0;
  page.next = list.head;
  page.previous = 0;
  vcpu.store(page_entry(gfn), page);
  if (list.head != 0) {
    set<&Page::previous>(vcpu, page_entry(Gfn{list.head}), short_number(gfn));
  } else {
    list.tail = short_number(gfn);
  }
  list.head = short_number(gfn);
  ++list.count;
  const PerCpuLimits& limits = zones_[static_cast<std::size_t>(zone)].per_cpu;
  const std::uint64_t high = is_reclaiming_ ? std::min(limits.batch * 4, limits.high) : limits.high;
  if (list.count >= high) {
    // nr_pcp_free: the longer a vCPU does nothing but free, the more it gives back at once.
    const std::uint64_t most = high > limits.batch ? high - limits.batch : limits.batch;
    const std::uint64_t wanted = limits.batch << list.spills;
    if (wanted < most) ++list.spills;
    spill(vcpu, zone, list, std::clamp<std::uint64_t>(wanted, limits.batch, most));
  }
  vcpu.store(at, list);
}

void PageAllocator::spill(hw::Vcpu& vcpu, int zone, PerCpuPages& list, std::uint64_t frames) const {
  for (frames = std::min<std::uint64_t>(frames, list.count); frames != 0; --frames) {
    const Gfn gfn{list.tail};
    list.tail = get<&Page::previous>(vcpu, page_entry(gfn));
    --list.count;
    give(vcpu, zone, gfn, 0);
  }
  if (list.tail == 0) {
    list.head = 0;
  } else {
    set<&Page::next>(vcpu, page_entry(Gfn{list.tail}), 0);
  }
}

void PageAllocator::fill(hw::Vcpu& vcpu, Gfn gfn, int order) const {
  if (on_free_ == OnFree::zero) {
    vcpu.zero(gfn.address(), kPageSize << order);
    return;
  }
  std::array<std::byte, kPageSize> poison;
  poison.fill(std::byte{kPagePoison});
  for (std::uint64_t at = 0; at < 1ull << order; ++at) vcpu.write((gfn + at).address(), poison);
}

void PageAllocator::give(hw::Vcpu& vcpu, int zone, Gfn gfn, int order) const {
  const int block = buddy(zone).free(vcpu, gfn, order);
  if (observer_ != nullptr && block >= observed_order_) observer_->on_large_block();
}

void PageAllocator::drain(hw::Vcpu& vcpu) {
  for (std::size_t cpu = 0; cpu < vcpus_; ++cpu) {
    for (int zone = 0; zone < kZones; ++zone) {
      const Gpa at = list_entry(cpu, zone);
      auto list = vcpu.load<PerCpuPages>(at);
      if (list.count == 0) continue;
      spill(vcpu, zone, list, list.count);
      vcpu.store(at, list);
    }
  }
}

int PageAllocator::zone_of(Gfn gfn) const {
  int zone = top_;
  while (zone > 0 && gfn.value < zones_[static_cast<std::size_t>(zone)].first) --zone;
  return zone;
}

bool PageAllocator::manages(Gfn gfn) const {
  const ZoneLimits& limits = zones_[static_cast<std::size_t>(zone_of(gfn))];
  return gfn.value >= limits.first && gfn.value < limits.end;
}

std::uint64_t PageAllocator::zone_free_frames(hw::Vcpu& vcpu) const {
  std::uint64_t sum = 0;
  for (int zone = 0; zone < kZones; ++zone) sum += get<&Zone::free>(vcpu, zone_entry(zone));
  return sum;
}

std::uint64_t PageAllocator::per_cpu_frames(hw::Vcpu& vcpu) const {
  std::uint64_t sum = 0;
  for (std::size_t cpu = 0; cpu < vcpus_; ++cpu)
    for (int zone = 0; zone < kZones; ++zone) sum += get<&PerCpuPages::count>(vcpu, list_entry(cpu, zone));
  return sum;
}

std::uint64_t PageAllocator::managed_frames(hw::Vcpu& vcpu) const {
  std::uint64_t sum = 0;
  for (int zone = 0; zone < kZones; ++zone) sum += get<&Zone::managed>(vcpu, zone_entry(zone));
  return sum;
}

void PageAllocator::adjust_managed(hw::Vcpu& vcpu, std::span<const Gfn> frames, std::int64_t by) const {
  std::array<std::int64_t, kZones> change{};
  for (const Gfn gfn : frames) change[static_cast<std::size_t>(zone_of(gfn))] += by;
  for (int zone = 0; zone < kZones; ++zone) {
    const Gpa at = zone_entry(zone);
    set<&Zone::managed>(
        vcpu, at, get<&Zone::managed>(vcpu, at) + static_cast<std::uint64_t>(change[static_cast<std::size_t>(zone)]));
  }
}

bool PageAllocator::is_balanced(hw::Vcpu& vcpu) const {
  for (int zone = 0; zone < kZones; ++zone) {
    const ZoneLimits& limits = zones_[static_cast<std::size_t>(zone)];
    if (limits.end == 0) continue;
    // pgdat_balanced: one zone is enough.
    if (get<&Zone::free>(vcpu, zone_entry(zone)) > limits.marks.high + limits.reserve) return true;
  }
  return false;
}

std::uint64_t PageAllocator::low_watermark() const {
  std::uint64_t sum = 0;
  for (const ZoneLimits& zone : zones_) sum += zone.marks.low;
  return sum;
}

std::vector<ZoneInfo> PageAllocator::zoneinfo(hw::Vcpu& vcpu) const {
  constexpr const char* kNames[kZones] = {"DMA", "DMA32", "Normal"};
  std::vector<ZoneInfo> all;
  for (int zone = 0; zone < kZones; ++zone) {
    if (zones_[static_cast<std::size_t>(zone)].end == 0) continue;
    const auto entry = vcpu.load<Zone>(zone_entry(zone));
    ZoneInfo info{.name = kNames[zone], .managed = entry.managed, .free = entry.free, .marks = watermarks(zone)};
    std::copy_n(entry.reserve, kZones, info.reserve.begin());
    for (std::size_t cpu = 0; cpu < vcpus_; ++cpu)
      info.per_cpu += get<&PerCpuPages::count>(vcpu, list_entry(cpu, zone));
    for (std::size_t order = 0; order < info.blocks.size(); ++order) info.blocks[order] = entry.areas[order].count;
    all.push_back(info);
  }
  return all;
}

void PageAllocator::check(hw::Vcpu& vcpu) const {
  for (int zone = 0; zone < kZones; ++zone) {
    if (zones_[static_cast<std::size_t>(zone)].end == 0) continue;
    buddy(zone).check(vcpu);
    for (std::size_t cpu = 0; cpu < vcpus_; ++cpu) {
      const auto list = vcpu.load<PerCpuPages>(list_entry(cpu, zone));
      std::uint32_t count = 0, previous = 0;
      for (std::uint32_t at = list.head; at != 0 && count <= list.count; ++count) {
        const auto page = vcpu.load<Page>(page_entry(Gfn{at}));
        if (page.use != PageUse::per_cpu || page.previous != previous || zone_of(Gfn{at}) != zone)
          throw InvariantError("guest allocator: gPFN " + hex(at) + " in the per-CPU list of vCPU " +
                               std::to_string(cpu) + " is not such a page");
        previous = at;
        at = page.next;
      }
      if (count != list.count || previous != list.tail)
        throw InvariantError("guest allocator: the per-CPU list of vCPU " + std::to_string(cpu) +
                             " does not hold as many frames as it counts");
    }
  }
}

}  // namespace vmem::guest
