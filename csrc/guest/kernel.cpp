#include "guest/kernel.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "guest/free_page_hints.hpp"
#include "guest/page_array.hpp"

namespace vmem::guest {
namespace {

std::uint64_t checked_frames(std::uint64_t bytes) {
  if (bytes < kMinimumMemory)
    throw ConfigError("a guest of " + std::to_string(bytes) + " bytes cannot boot: its kernel needs at least " +
                      std::to_string(kMinimumMemory));
  return bytes >> kPageShift;
}

/// First frame after the kernel's own data.
std::uint64_t first_frame(std::uint64_t frames) {
  return (kPageArray.value + align_up(frames * sizeof(Page), kPageSize)) >> kPageShift;
}

}  // namespace

Kernel::Kernel(std::vector<hw::Vcpu*> vcpus, std::uint64_t bytes, int levels, const BootParameters& parameters)
    : frames_(checked_frames(bytes)),
      levels_(levels),
      parameters_(parameters),
      cpus_(std::move(vcpus), vmstat_),
      pages_(cpus_.boot(), first_frame(frames_), frames_, cpus_.size()),
      mappings_(cpus_, processes_, vmstat_),
      timers_(cpus_.boot()),
      psi_(cpus_),
      swap_(pages_, vmstat_),
      reclaim_(pages_, mappings_, cpus_, swap_, timers_, psi_, vmstat_),
      cache_(pages_, mappings_, timers_, psi_, vmstat_) {
  pages_.fill_freed(parameters.on_free);
  hw::Vcpu& boot = cpus_.boot();
  set<&BootInfo::magic>(boot, BootInfo::kAt, BootInfo::kMagic);
  set<&BootInfo::frames>(boot, BootInfo::kAt, frames_);
  set<&BootInfo::zones>(boot, BootInfo::kAt, Zone::kAt.value);
  set<&BootInfo::page_array>(boot, BootInfo::kAt, kPageArray.value);
  for (hw::Vcpu* vcpu : cpus_.all()) vcpu->install(*this);
  devices_ = std::make_unique<Devices>(boot, *this, interrupts_);
  find_swap(boot);
  if (BlockDriver* const disk = devices_->disk(); disk != nullptr) {
    files_ = FileSystem(disk->sectors());
    cache_.use(*disk, files_, reclaim_);
  }
  tell_of_frees(boot);
}

void Kernel::tell_of_frees(hw::Vcpu& boot) {
  switch (parameters_.free_calls) {
    case FreeCalls::none:
      return;
    case FreeCalls::each:
      free_listener_ = std::make_unique<FreePageHints>();
      break;
    case FreeCalls::batched:
      free_listener_ = std::make_unique<BatchedFreePageHints>(boot, pages_, timers_);
      break;
  }
  pages_.tell_of_frees(*free_listener_);
}

void Kernel::find_swap(hw::Vcpu& boot) {
  BlockDriver* const disk = devices_->swap_disk();
  if (disk == nullptr) return;
  const bool used =
      swap_.use(boot, *disk, [this](hw::Vcpu& vcpu, Gfn gfn, bool ok) { reclaim_.on_written(vcpu, gfn, ok); });
  if (!used)
    throw ConfigError("the guest's memory of " + std::to_string(frames_ << kPageShift) +
                      " bytes cannot hold the map of its swap of " +
                      std::to_string(disk->sectors() << virtio::block::kSectorShift) + " bytes");
}

Process& Kernel::spawn(hw::Vcpu& vcpu, const std::string& name) {
  Process& process = processes_.add(std::make_unique<Process>(vcpu, pages_, next_id_, name, levels_, cpus_.size()));
  cpus_.join(process);
  ++next_id_;
  return process;
}

void Kernel::exit(hw::Vcpu& vcpu, Process& process) {
  unmap_range(vcpu, process, 0, align_up(process.areas.top(), 1ull << 47));
  cpus_.leave(process);
  process.table.destroy(vcpu);
  processes_.erase(process);
}

void Kernel::on_interrupt(hw::Vcpu& vcpu, hw::Vector vector) {
  if (vector == hw::kTimerVector) {
    timers_.run_due();
  } else {
    interrupts_.deliver(vcpu, vector);
  }
}

MemInfo Kernel::meminfo() {
  hw::Vcpu& vcpu = cpus_.boot();
  MemInfo info;
  info.MemTotal = pages_.managed_frames(vcpu);
  info.MemFree = pages_.zone_free_frames(vcpu);
  info.ActiveAnon = Lru::frames(vcpu, LruKind::active_anonymous);
  info.InactiveAnon = Lru::frames(vcpu, LruKind::inactive_anonymous);
  info.ActiveFile = Lru::frames(vcpu, LruKind::active_file);
  info.InactiveFile = Lru::frames(vcpu, LruKind::inactive_file);
  info.Active = info.ActiveAnon + info.ActiveFile;
  info.Inactive = info.InactiveAnon + info.InactiveFile;
  info.Cached = cache_.cached();
  info.Dirty = cache_.dirty();
  info.SwapCached = swap_.cached();
  info.SwapTotal = swap_.map().slots();
  info.SwapFree = swap_.map().free_slots(vcpu);
  info.Writeback = swap_.in_flight() + cache_.in_flight();
  info.AnonPages = info.ActiveAnon + info.InactiveAnon;
  info.AnonHugePages = vmstat_.nr_anon_transparent_hugepages << 9;
  for (const auto& process : processes_.all()) info.PageTables += process->table.table_frames();
  info.MemAvailable = available_memory({.free = info.MemFree,
                                        .page_cache = info.ActiveFile + info.InactiveFile,
                                        .reclaimable = 0,
                                        .low_watermark = pages_.low_watermark(),
                                        .total_reserve = pages_.total_reserve()});
  return info;
}

}  // namespace vmem::guest
