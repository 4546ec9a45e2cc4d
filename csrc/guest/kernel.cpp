#include "guest/kernel.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "guest/buddy.hpp"
#include "guest/page_array.hpp"

namespace vmem::guest {

Kernel::Kernel(std::vector<hw::Vcpu*> vcpus, std::uint64_t bytes, int levels)
    : vcpus_(std::move(vcpus)),
      frames_(bytes >> kPageShift),
      levels_(levels),
      current_(vcpus_.size(), nullptr),
      timers_(*vcpus_.front()) {
  if (bytes < kMinimumMemory)
    throw ConfigError("a guest of " + std::to_string(bytes) + " bytes cannot boot: its kernel needs at least " +
                      std::to_string(kMinimumMemory));
  hw::Vcpu& boot = *vcpus_.front();
  const std::uint64_t first = (kPageArray.value + align_up(frames_ * sizeof(Page), kPageSize)) >> kPageShift;
  set<&BootInfo::magic>(boot, BootInfo::kAt, BootInfo::kMagic);
  set<&BootInfo::frames>(boot, BootInfo::kAt, frames_);
  set<&BootInfo::zone>(boot, BootInfo::kAt, Zone::kAt.value);
  set<&BootInfo::page_array>(boot, BootInfo::kAt, kPageArray.value);
  Buddy::initialise(boot, Gfn{first}, Gfn{frames_});
  for (hw::Vcpu* vcpu : vcpus_) vcpu->install(*this);
  devices_ = std::make_unique<Devices>(boot, *this, interrupts_);
}

Process& Kernel::spawn(hw::Vcpu& vcpu, const std::string& name) {
  processes_.push_back(std::make_unique<Process>(vcpu, next_id_, name, levels_, vcpus_.size()));
  ++next_id_;
  return *processes_.back();
}

void Kernel::exit(hw::Vcpu& vcpu, Process& process) {
  unmap_range(vcpu, process, 0, align_up(process.areas.top(), 1ull << 47));
  // A vCPU that still has its table in CR3 goes to the kernel's: nothing of user space is mapped there.
  for (std::size_t i = 0; i < current_.size(); ++i) {
    if (current_[i] != &process) continue;
    current_[i] = nullptr;
    vcpus_[i]->write_cr3(0);
  }
  process.table.destroy(vcpu);
  for (const auto& other : processes_)
    if (other.get() != &process && other->pcid() == process.pcid())
      std::fill(other->loaded.begin(), other->loaded.end(), std::uint8_t{0});
  std::erase_if(processes_, [&](const auto& held) { return held.get() == &process; });
}

void Kernel::switch_to(hw::Vcpu& vcpu, Process& process) {
  const auto index = static_cast<std::size_t>(vcpu.id());
  if (current_[index] == &process && process.loaded[index]) return;
  const std::uint64_t keep = process.loaded[index] ? hw::kCr3NoFlush : 0;
  for (const auto& other : processes_)
    if (other.get() != &process && other->pcid() == process.pcid()) other->loaded[index] = 0;
  process.loaded[index] = 1;
  current_[index] = &process;
  vcpu.write_cr3(process.table.root().address().value | process.pcid() | keep);
}

void Kernel::shoot_down(hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t end) {
  constexpr std::uint64_t kSingleFlushCeiling = 33;  // Linux: tlb_single_page_flush_ceiling
  const std::uint64_t pages = (end - start) >> kPageShift;
  for (std::size_t i = 0; i < vcpus_.size(); ++i) {
    if (!process.loaded[i]) continue;
    if (current_[i] != &process) {
      process.loaded[i] = 0;  // flushed when it is next switched to
      continue;
    }
    if (vcpus_[i] != &vcpu) ++vmstat_.nr_tlb_remote_flush;
    if (pages <= kSingleFlushCeiling) {
      for (std::uint64_t at = start; at < end; at += kPageSize) vcpus_[i]->invlpg(Gva{at});
      vmstat_.nr_tlb_local_flush_one += pages;
    } else {
      vcpus_[i]->write_cr3(process.table.root().address().value | process.pcid());
      ++vmstat_.nr_tlb_local_flush_all;
    }
  }
}

void Kernel::on_interrupt(hw::Vcpu& vcpu, hw::Vector vector) {
  if (vector == hw::kTimerVector) {
    timers_.run_due();
  } else {
    interrupts_.deliver(vcpu, vector);
  }
}

std::uint64_t Kernel::managed_frames() { return get<&Zone::managed>(*vcpus_.front(), Zone::kAt); }
std::uint64_t Kernel::free_frames() { return Buddy::free_frames(*vcpus_.front()); }

}  // namespace vmem::guest
