// A guest kernel of a few lines: it maps what a test tells it to, and only when it faults.
#pragma once

#include <cstdint>
#include <map>

#include "hw/vcpu.hpp"

namespace vmem::test {

/// Its tables are bytes in guest memory, edited by stores of the vCPU that faults. One address space of 4 levels for
/// all vCPUs.
class ScriptedGuest final : public hw::TrapHandler {
 public:
  /// Tables take guest frames upwards from `first_table`, the first being the root.
  explicit ScriptedGuest(Gfn first_table) : root_(first_table), next_table_(first_table + 1) {}

  void boot(hw::Vcpu& vcpu) {
    vcpu.install(*this);
    vcpu.write_cr3(root_.address().value);
  }
  /// The next fault at the 4 KiB page of `gva` maps it to `gfn`, for reading, writing and execution.
  void promise(Gva gva, Gfn gfn) { promised_[gva.frame().value] = gfn; }
  int faults() const { return faults_; }

  void on_interrupt(hw::Vcpu&, hw::Vector) override {}
  hw::TrapResult on_page_fault(hw::Vcpu& vcpu, const hw::Fault& fault) override {
    ++faults_;
    const auto promise = promised_.find(fault.gva.frame().value);
    if (promise == promised_.end()) return hw::TrapResult::signal;
    Gpa at = slot(root_.address(), fault.gva, 4);
    for (int level = 3; level >= 1; --level) {
      auto entry = vcpu.load<std::uint64_t>(at);
      if (entry == 0) vcpu.store(at, entry = next_table().address().value | kFlags);
      at = slot(Gpa{entry & 0x000f'ffff'ffff'f000}, fault.gva, level);
    }
    vcpu.store<std::uint64_t>(at, promise->second.address().value | kFlags);
    return hw::TrapResult::resolved;
  }

 private:
  static constexpr std::uint64_t kFlags = 7;  ///< present, writable, user
  static Gpa slot(Gpa table, Gva gva, int level) { return table + (gva.value >> (12 + 9 * (level - 1))) % 512 * 8; }
  Gfn next_table() {
    const Gfn table = next_table_;
    next_table_ = next_table_ + 1;
    return table;
  }

  Gfn root_, next_table_;
  std::map<std::uint64_t, Gfn> promised_;
  int faults_ = 0;
};

}  // namespace vmem::test
