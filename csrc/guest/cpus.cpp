#include "guest/cpus.hpp"

#include <algorithm>

namespace vmem::guest {

void Cpus::switch_to(hw::Vcpu& vcpu, Process& process) {
  const auto index = static_cast<std::size_t>(vcpu.id());
  if (current_[index] == &process && process.loaded[index]) return;
  const std::uint64_t keep = process.loaded[index] ? hw::kCr3NoFlush : 0;
  claim_pcid(process, index);
  process.loaded[index] = 1;
  current_[index] = &process;
  vcpu.write_cr3(process.table.root().address().value | process.pcid() | keep);
}

void Cpus::claim_pcid(const Process& process, std::size_t vcpu) {
  for (Process* other : sharers_)
    if (other != &process && other->pcid() == process.pcid()) other->loaded[vcpu] = 0;
}

void Cpus::shoot_down(const hw::Vcpu& vcpu, Process& process, std::uint64_t start, std::uint64_t end) {
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

void Cpus::leave(const Process& process) {
  // A vCPU that still has its table in CR3 goes to the kernel's: nothing of user space is mapped there.
  for (std::size_t i = 0; i < current_.size(); ++i) {
    if (current_[i] != &process) continue;
    current_[i] = nullptr;
    vcpus_[i]->write_cr3(0);
  }
  // Entries of its PCID outlive it: whoever uses the PCID next starts with a flush.
  for (std::size_t i = 0; i < vcpus_.size(); ++i) claim_pcid(process, i);
  std::erase(sharers_, &process);
}

}  // namespace vmem::guest
