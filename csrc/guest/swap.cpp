#include "guest/swap.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace vmem::guest {
namespace {

constexpr char kSignature[] = {'S', 'W', 'A', 'P', 'S', 'P', 'A', 'C', 'E', '2'};

void add_flags(hw::Vcpu& vcpu, Gfn gfn, std::uint16_t flags) {
  const Gpa page = page_entry(gfn);
  set<&Page::flags>(vcpu, page, static_cast<std::uint16_t>(get<&Page::flags>(vcpu, page) | flags));
}

void drop_flags(hw::Vcpu& vcpu, Gfn gfn, std::uint16_t flags) {
  const Gpa page = page_entry(gfn);
  set<&Page::flags>(vcpu, page, static_cast<std::uint16_t>(get<&Page::flags>(vcpu, page) & ~flags));
}

}  // namespace

bool Swap::is_swap_space(hw::Vcpu& vcpu, PageAllocator& pages, BlockDriver& disk) {
  if (disk.sectors() < 2 * kSectorsPerSlot) return false;
  const auto frame = pages.allocate(vcpu, 0, PageUse::kernel);
  if (!frame) return false;
  const virtio::Buffer whole{frame->address(), kPageSize};
  std::array<char, sizeof kSignature> found{};
  if (disk.read(vcpu, 0, std::span(&whole, 1)))
    vcpu.read(frame->address() + (kPageSize - sizeof kSignature), std::as_writable_bytes(std::span(found)));
  pages.free(vcpu, *frame, 0);
  return std::equal(found.begin(), found.end(), kSignature);
}

bool Swap::use(hw::Vcpu& vcpu, BlockDriver& disk, Written written) {
  constexpr std::uint64_t kMostSlots = 1ull << 32;
  const std::uint64_t slots = std::min(disk.sectors() / kSectorsPerSlot, kMostSlots);
  const auto memory = pages_.allocate_span(vcpu, SwapMap::frames_for(slots), PageUse::kernel);
  if (!memory) return false;
  vcpu.zero(memory->address(), SwapMap::frames_for(slots) << kPageShift);
  disk_ = &disk;
  written_ = std::move(written);
  map_.create(vcpu, slots, memory->address());
  return true;
}

bool Swap::add(hw::Vcpu& vcpu, Gfn gfn) {
  const auto slot = map_.take(vcpu, gfn);
  if (!slot) return false;
  auto page = vcpu.load<Page>(page_entry(gfn));
  page.flags = static_cast<std::uint16_t>(page.flags | page_flag::kSwapCache | page_flag::kDirty);
  page.slot = *slot;
  vcpu.store(page_entry(gfn), page);
  ++cached_;
  return true;
}

void Swap::remove(hw::Vcpu& vcpu, Gfn gfn) {
  const auto slot = get<&Page::slot>(vcpu, page_entry(gfn));
  drop_flags(vcpu, gfn, page_flag::kSwapCache);
  map_.drop_page(vcpu, slot);
  --cached_;
}

void Swap::evict(hw::Vcpu& vcpu, Gfn gfn, std::uint32_t age) {
  map_.set_evicted(vcpu, get<&Page::slot>(vcpu, page_entry(gfn)), age);
  remove(vcpu, gfn);
}

bool Swap::write(hw::Vcpu& vcpu, Gfn gfn) {
  const auto slot = get<&Page::slot>(vcpu, page_entry(gfn));
  drop_flags(vcpu, gfn, page_flag::kDirty);
  if (detects_zeros_ && vcpu.is_zero_page(gfn.address())) {
    map_.set_flags(vcpu, slot, SwapSlot::kZeros);
    ++vmstat_.swpout_zero;
    return true;
  }
  map_.set_flags(vcpu, slot, 0);
  add_flags(vcpu, gfn, page_flag::kWriteback);
  while (!gathered_.empty() &&
         (slot != first_gathered_ + gathered_.size() || gathered_.size() == BlockDriver::kMaxSegments))
    start_writes(vcpu);
  if (gathered_.empty()) first_gathered_ = slot;
  gathered_.push_back(gfn);
  ++in_flight_;
  return false;
}

void Swap::start_writes(hw::Vcpu& vcpu) {
  if (gathered_.empty()) return;
  const std::vector<Gfn> pages = std::exchange(gathered_, {});
  std::array<virtio::Buffer, BlockDriver::kMaxSegments> segments;
  for (std::size_t i = 0; i < pages.size(); ++i) segments[i] = {pages[i].address(), kPageSize};
  vmstat_.pswpout += pages.size();
  vmstat_.pgpgout += pages.size() * (kPageSize >> 10);
  disk_->submit(vcpu, virtio::block::Operation::out, sector_of(first_gathered_),
                std::span(segments).first(pages.size()),
                [this, pages](hw::Vcpu& on, bool ok) { on_written(on, pages, ok); });
}

void Swap::on_written(hw::Vcpu& vcpu, const std::vector<Gfn>& pages, bool ok) {
  in_flight_ -= pages.size();
  for (const Gfn gfn : pages) {
    drop_flags(vcpu, gfn, page_flag::kWriteback);
    // What the disk did not take is only in memory.
    if (!ok) add_flags(vcpu, gfn, page_flag::kDirty);
    written_(vcpu, gfn, ok);
  }
}

bool Swap::wait_for_write(hw::Vcpu& vcpu) {
  start_writes(vcpu);
  const std::uint64_t before = in_flight_;
  if (before == 0) return false;
  while (in_flight_ >= before && disk_->wait(vcpu)) {
  }
  return true;
}

Swap::Read Swap::read(hw::Vcpu& vcpu, SlotNumber slot) {
  if (const SwapSlot cached = map_.at(vcpu, slot); cached.page != 0) {
    const Gfn gfn{cached.page};
    set<&Page::references>(vcpu, page_entry(gfn), get<&Page::references>(vcpu, page_entry(gfn)) + 1);
    return {gfn, false, false};
  }
  const auto gfn = pages_.allocate(vcpu, 0, PageUse::anonymous);
  if (!gfn) return {};
  if (const SwapSlot now = map_.at(vcpu, slot); now.page != 0 || now.entries == 0) {
    pages_.free(vcpu, *gfn, 0);  // somebody else was faster
    return now.page != 0 ? read(vcpu, slot) : Read{};
  }
  ++vmstat_.pgalloc;
  const auto flags = map_.at(vcpu, slot).flags;
  auto page = vcpu.load<Page>(page_entry(*gfn));
  page.flags = page_flag::kSwapCache;
  page.slot = slot;
  vcpu.store(page_entry(*gfn), page);
  map_.set_page(vcpu, slot, *gfn);
  ++cached_;
  if ((flags & SwapSlot::kZeros) != 0) {
    vcpu.zero(gfn->address(), kPageSize);
    ++vmstat_.swpin_zero;
    return {gfn, false, false};
  }
  const virtio::Buffer whole{gfn->address(), kPageSize};
  ++vmstat_.pswpin;
  vmstat_.pgpgin += kPageSize >> 10;
  if (disk_->read(vcpu, sector_of(slot), std::span(&whole, 1))) return {gfn, true, false};
  remove(vcpu, *gfn);
  pages_.free(vcpu, *gfn, 0);
  return {std::nullopt, true, true};
}

}  // namespace vmem::guest
