// Shadow paging: the hypervisor keeps tables gVA → hPA that the processor walks instead of the guest's.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "hw/handlers.hpp"
#include "hw/state.hpp"
#include "paging/reserved.hpp"
#include "vmm/guest_walk.hpp"
#include "vmm/second_stage.hpp"
#include "vmm/shadow/shadow_config.hpp"
#include "vmm/shadow/shadow_table.hpp"

namespace vmem::vmm {

class Synchroniser;

/// Invariant, whenever the guest runs: each entry a vCPU can reach permits no more than the guest's tables and the
/// second stage together did when the guest last flushed what it changed; dirty pages excepted, write permission is
/// withheld until the guest's own dirty bit is set. docs/design/shadow.md explains the three ways to keep it.
class ShadowMmu {
 public:
  ShadowMmu(Vm& vm, const ShadowConfig& config);
  ~ShadowMmu();

  // --- exits of a vCPU ---

  /// Whose fault is it? The guest's table decides.
  hw::Outcome on_page_fault(hw::Vcpu& vcpu, hw::Fault& fault);
  void on_cr3_write(hw::Vcpu& vcpu, std::uint64_t value);
  void on_invlpg(hw::Vcpu& vcpu, Gva gva);
  /// A store by the guest kernel to a traced table.
  void on_traced_store(Gpa gpa, const void* bytes, std::size_t size);

  /// The fault is one that the processor delivers to the guest at once: page faults with P clear, where the shadow's
  /// entry is zero only if the guest's is not present (SDM vol. 3, 25.2: page-fault error-code mask and match).
  bool is_direct(const hw::Fault& fault) const { return direct_faults_ && (fault.error_code & hw::kPfPresent) == 0; }
  /// The guest must not write this frame unseen.
  bool is_traced(Gfn gfn) const { return table_.traced().contains(gfn); }
  /// The machine frames that back [gfn, gfn + count) are about to go: no entry maps them afterwards.
  void forget_frames(Gfn gfn, Hfn hfn, std::uint64_t count);
  /// The large page that begins at this machine frame is cut: no shadow entry maps it whole afterwards.
  void forget_large(Hfn head);
  /// Some shadow entry maps the 4 KiB page, or the large page that begins with it.
  bool maps(Hfn hfn) const { return table_.maps(hfn); }
  /// Frees every shadow page but those that vCPUs have in CR3, which map nothing afterwards.
  void give_up_pages();
  /// No shadow entry lets the guest store to this machine frame afterwards.
  void withdraw_write(Hfn hfn);
  /// Invalidates every vCPU's TLBs and frees what was condemned, if anything was.
  void settle();
  /// InvariantError if an entry maps what it should not.
  void check();

  // --- what the three ways of synchronisation are made of ---

  ShadowTable& table() { return table_; }
  /// Write-protects the guest table of a page.
  void trace(ShadowPage& page);
  /// Stores to the guest table of a page are not seen any more.
  void untrace(ShadowPage& page);
  /// Direct faults: an entry of a traced page that is not in use tells whose fault it makes.
  void classify(ShadowPage& page, unsigned index);
  /// Makes every entry of a level-1 page agree with the guest's table, which is traced again.
  void resynchronise(ShadowPage& page);
  /// The same for one entry, which stays untraced.
  void resynchronise_entry(ShadowPage& page, unsigned index);
  /// Fills the entry of a level-1 page from the guest's entry if that costs the guest no accessed bit and the host no
  /// frame.
  void prefetch(ShadowPage& page, unsigned index);
  /// TLBs hold what the entries no longer say.
  void must_flush() { stale_ = true; }
  ShadowPage* root_of(hw::Vcpu& vcpu) { return roots_[index_of(vcpu)]; }
  hw::State guest_state(const hw::Vcpu& vcpu) const;

 private:
  static std::size_t index_of(const hw::Vcpu& vcpu);
  void make_room();
  void protect(Gfn gfn);
  /// No unused entry of the page lets a fault through.
  void doubt(ShadowPage& page);
  /// Every guest table that the walk read is in machine memory and the VM's own, as a processor's walk needs it.
  /// `stalls`: one had to be read from the swap. False: no frame left.
  bool provide_tables(hw::Vcpu& vcpu, const GuestWalk& walk, bool& stalls);
  ShadowPage* get(const ShadowKey& key);
  /// Makes the path to the walk's address. False: no frame left for a table.
  bool fill(hw::Vcpu& vcpu, const GuestWalk& walk, Gva gva, const SecondStage::Leaf& backing, bool& was_present);
  ShadowPage* descend(hw::Vcpu& vcpu, ShadowPage& page, const GuestWalk& walk, Gva gva, int level);
  ShadowKey child_key(hw::Vcpu& vcpu, const GuestWalk& walk, Gva gva, int level) const;
  int shadow_level(const GuestWalk& walk, const SecondStage::Leaf& backing) const;
  std::uint64_t leaf_value(const GuestWalk& walk, const SecondStage::Leaf& backing, int level) const;
  std::uint64_t prefetched_value(std::uint64_t guest_entry) const;
  hw::Outcome emulate_user_store(hw::Vcpu& vcpu, hw::Fault& fault, Gpa gpa);
  void enter_root(hw::Vcpu& vcpu, std::uint64_t value);

  Vm& vm_;
  bool direct_faults_;
  ShadowTable table_;
  std::unique_ptr<Synchroniser> sync_;
  paging::ReservedBits reserved_;
  std::uint64_t max_pages_;
  std::vector<ShadowPage*> roots_;        ///< by vCPU
  std::vector<std::uint64_t> guest_cr3_;  ///< by vCPU, as the guest believes it
  bool stale_ = false;
};

}  // namespace vmem::vmm
