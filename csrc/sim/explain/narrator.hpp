// Makes an access and notes what it is told, and what has changed in every table on the way.
#pragma once

#include <vector>

#include "hw/story.hpp"
#include "hw/vcpu.hpp"
#include "sim/cost_model.hpp"
#include "sim/explain/explanation.hpp"

namespace vmem::sim {

/// Changes are found by comparing the tables before and after each thing that may change them, so nobody who changes
/// one has to tell.
class Narrator final : public hw::Story {
 public:
  Narrator(vmm::Vm& vm, hw::Vcpu& vcpu, const CostModel& costs, Gva gva, AccessKind kind);
  ~Narrator() { vcpu_.tell(nullptr); }
  Narrator(const Narrator&) = delete;
  Narrator& operator=(const Narrator&) = delete;

  /// The access itself. What came before it (a switch of address spaces) is told first.
  Explanation make_access();

  void walks(Gva gva) override;
  void looks_up(hw::WalkCache cache, std::uint64_t address, int level) override;
  void reads(hw::Dimension dimension, int level, std::uint64_t at, std::uint64_t entry) override;
  void walks_in_software(std::uint64_t references) override;
  void raises(const hw::Fault& fault) override;
  void decides(const hw::Fault& fault, hw::Outcome outcome) override;
  void handles(const hw::Fault& fault, hw::TrapResult result) override;
  void counts(ExitReason reason) override;
  void counts(FaultClass kind) override;

 private:
  Step& add(Step::Kind kind, std::string name = {});
  /// The cost of one more of what `count` counts.
  template <class Count>
  std::uint64_t cost_of(Count&& count) const {
    Counters one;
    count(one);
    return costs_.cycles(one);
  }
  TablePath paths();
  void note_changes();
  std::vector<Step> tlb_steps(const Counters& made) const;

  vmm::Vm& vm_;
  hw::Vcpu& vcpu_;
  const CostModel& costs_;
  Gva gva_;
  AccessKind kind_;
  Counters before_;
  std::vector<Gpa> watched_;  ///< guest-physical addresses whose second-stage path is watched beside that of the data
  TablePath known_;
  std::vector<Step> steps_;
  int references_ = 0;
  Nanoseconds raised_at_ = 0;
};

}  // namespace vmem::sim
