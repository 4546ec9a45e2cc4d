#include "vmm/reclaim/free_list_scan.hpp"

#include <algorithm>
#include <span>
#include <string>

#include "core/error.hpp"
#include "vmm/balloon/discard.hpp"
#include "vmm/reclaim/free_list_layout.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {

namespace layout = free_list_layout;

FreeListScan::FreeListScan(Vm& vm, const ScanConfig& config)
    : vm_(vm),
      config_(config),
      deadline_(config.period == 0 ? kNever : vm.host().clock.now() + config.period),
      due_(deadline_) {
  if (config.period != 0 && vm.is_native())
    throw ConfigError("VM '" + vm.config().name + "': a native machine has no hypervisor to scan its free lists");
}

/// Zeros beyond guest memory: no entry of a free page.
template <class T>
T FreeListScan::read(std::uint64_t at) {
  T value{};
  const std::uint64_t size = vm_.frames() << kPageShift;
  if (at > size || sizeof value > size - at || (at & kPageMask) + sizeof value > kPageSize) return value;
  vm_.read_guest(Gpa{at}, std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

void FreeListScan::run_due(Nanoseconds now) {
  if (is_taking_) {
    stat_.host_time += take();
    is_taking_ = false;
    deadline_ = due_ = std::max(due_, now + 1);
    return;
  }
  due_ = now + config_.period;
  const Nanoseconds looked = look();
  stat_.host_time += looked;
  if (!config_.pauses) {
    is_taking_ = true;
    deadline_ = now + std::max<Nanoseconds>(looked, 1);
    return;
  }
  const Nanoseconds took = take();
  stat_.host_time += took;
  stat_.paused += looked + took;
  for (std::size_t i = 0; i < vm_.vcpu_count(); ++i) vm_.vcpu(i).wait(looked + took);
  deadline_ = due_;
}

Nanoseconds FreeListScan::look() {
  ++stat_.scans;
  found_.clear();
  const auto boot = read<layout::BootInfo>(layout::kBootInfo.value);
  if (boot.magic != layout::kMagic) {
    ++stat_.unreadable;
    return config_.entry_time;
  }
  const std::uint64_t before = stat_.entries;
  page_array_ = boot.page_array;
  std::vector<bool> seen(vm_.frames());
  for (std::uint64_t zone = 0; zone < layout::kZones; ++zone)
    for (int order = layout::kOrders - 1; order >= 0; --order)
      look_at_list(boot.zones + zone * layout::kZoneBytes, boot.page_array, static_cast<std::uint8_t>(order), seen);
  return (stat_.entries - before + 1) * config_.entry_time;
}

void FreeListScan::look_at_list(std::uint64_t zone, std::uint64_t page_array, std::uint8_t order,
                                std::vector<bool>& seen) {
  const auto area = read<layout::FreeArea>(zone + layout::kAreasAt + order * sizeof(layout::FreeArea));
  std::uint64_t gfn = area.head;
  for (std::uint32_t i = 0; i < area.count && gfn != 0 && gfn < vm_.frames() && !seen[gfn]; ++i) {
    seen[gfn] = true;
    ++stat_.entries;
    const Block block{gfn, order};
    if (!is_free(page_array, block)) return;
    found_.push_back(block);
    stat_.found += 1ull << order;
    gfn = read<layout::PageHead>(page_array + gfn * layout::kPageBytes).next;
  }
}

bool FreeListScan::is_free(std::uint64_t page_array, const Block& block) {
  const auto page = read<layout::PageHead>(page_array + block.gfn * layout::kPageBytes);
  return page.use == layout::kFree && page.order == block.order && (1ull << block.order) <= vm_.frames() - block.gfn;
}

Nanoseconds FreeListScan::take() {
  Discard discard(vm_);
  Nanoseconds time = 0;
  for (const Block& block : found_) {
    const std::uint64_t frames = 1ull << block.order;
    time += config_.pauses ? 0 : config_.entry_time;
    if (!is_free(page_array_, block)) {
      stat_.raced += frames;
      continue;
    }
    const std::uint64_t taken = discard.range(Gfn{block.gfn}, frames);
    stat_.discarded += taken;
    if (taken != 0) time += config_.discard_time + taken * config_.frame_time;
  }
  found_.clear();
  return time;
}

}  // namespace vmem::vmm
