#include "sim/explain/narrator.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>
#include <utility>

namespace vmem::sim {
namespace {

using Kind = Step::Kind;

std::string name_of(ExitReason reason) {
  constexpr std::array<std::string_view, kExitReasons> names{
#define X(name) #name,
      VMEM_EXITS(X)
#undef X
  };
  return std::string(names[static_cast<std::size_t>(reason)]);
}

std::string name_of(FaultClass kind) {
  constexpr std::array<std::string_view, kFaultClasses> names{
#define X(name) #name,
      VMEM_FAULTS(X)
#undef X
  };
  return std::string(names[static_cast<std::size_t>(kind)]);
}

std::string name_of(hw::Outcome outcome) {
  switch (outcome) {
    case hw::Outcome::retry:
      return "retry";
    case hw::Outcome::inject:
      return "inject";
    case hw::Outcome::emulate:
      return "emulate";
    case hw::Outcome::stall:
      return "stall";
    case hw::Outcome::kill:
      return "kill";
  }
  return {};
}

std::string name_of(hw::TrapResult result) {
  switch (result) {
    case hw::TrapResult::resolved:
      return "resolved";
    case hw::TrapResult::signal:
      return "signal";
    case hw::TrapResult::killed:
      return "killed";
  }
  return {};
}

std::string name_of(hw::WalkCache cache) {
  switch (cache) {
    case hw::WalkCache::psc:
      return "psc";
    case hw::WalkCache::host_psc:
      return "host_psc";
    case hw::WalkCache::nested_tlb:
      return "nested_tlb";
  }
  return {};
}

}  // namespace

Narrator::Narrator(vmm::Vm& vm, hw::Vcpu& vcpu, const CostModel& costs, Gva gva, AccessKind kind)
    : vm_(vm), vcpu_(vcpu), costs_(costs), gva_(gva), kind_(kind), before_(vcpu.mmu().counters()), known_(paths()) {
  vcpu_.tell(this);
}

Explanation Narrator::make_access() {
  known_ = paths();  // those of another address space, if there was a switch
  const auto beginning = static_cast<std::ptrdiff_t>(steps_.size());
  const Counters switched = vcpu_.mmu().counters();
  Hpa at;
  const bool done = vcpu_.access(gva_, kind_, at);
  note_changes();
  const Counters after = vcpu_.mmu().counters();
  std::vector<Step> tlb = tlb_steps(after - switched);
  steps_.insert(steps_.begin() + beginning, std::make_move_iterator(tlb.begin()), std::make_move_iterator(tlb.end()));

  Explanation explanation;
  explanation.counters = after - before_;
  if (const std::uint64_t flushes = explanation.counters.tlb_flushes; flushes > 0) {
    Step& step = add(Kind::flush);
    step.number = static_cast<int>(flushes);
    step.cycles = cost_of([&](Counters& c) { c.tlb_flushes = flushes; });
  }
  if (const std::uint64_t hits = explanation.counters.software_tlb_hits; hits > 0) {
    Step& step = add(Kind::tlb, "software");
    step.hit = true;
    step.cycles = cost_of([&](Counters& c) { c.software_tlb_hits = hits; });
  }
  add(Kind::result, done ? "done" : "signal").address = done ? at.value : 0;
  explanation.steps = std::move(steps_);
  for (const Step& step : explanation.steps) explanation.cycles += step.cycles;
  return explanation;
}

/// Lookups are not told, they are read off the counters: one access makes at most one in each level.
std::vector<Step> Narrator::tlb_steps(const Counters& made) const {
  const bool fetch = kind_ == AccessKind::fetch;
  if (made.accesses == 0) return {};  // not even a lookup: the address is not canonical
  const bool l1_hit = (fetch ? made.l1i_hits : made.l1d_hits) != 0;
  std::vector<Step> steps;
  const auto look = [&](const char* name, bool hit, std::uint64_t cycles) {
    Step step;
    step.kind = Kind::tlb;
    step.name = name;
    step.hit = hit;
    step.cycles = cycles;
    steps.push_back(step);
  };
  look(fetch ? "l1i" : "l1d", l1_hit, cost_of([](Counters& c) { c.accesses = 1; }));
  if (!l1_hit && !vcpu_.mmu().cpu().l2.empty())
    look("l2", made.l2_hits != 0, cost_of([&](Counters& c) { c.l2_hits = made.l2_hits; }));
  if (made.dirty_assists != 0) {
    Step step;
    step.kind = Kind::assist;
    step.cycles = cost_of([&](Counters& c) { c.dirty_assists = made.dirty_assists; });
    steps.push_back(step);
  }
  return steps;
}

Step& Narrator::add(Kind kind, std::string name) {
  Step step;
  step.kind = kind;
  step.name = std::move(name);
  return steps_.emplace_back(std::move(step));
}

TablePath Narrator::paths() {
  TablePath all = guest_path(vm_, vcpu_, gva_);
  std::vector<Gpa> targets = watched_;
  if (const auto target = target_of(all, gva_)) targets.push_back(*target);
  const TablePath shadow = shadow_path(vm_, vcpu_, gva_);
  all.insert(all.end(), shadow.begin(), shadow.end());
  for (const Gpa gpa : targets)
    for (const PathEntry& entry : second_stage_path(vm_, gpa))
      if (std::none_of(all.begin(), all.end(), [&](const PathEntry& held) { return held.same_place(entry); }))
        all.push_back(entry);
  return all;
}

void Narrator::note_changes() {
  TablePath now = paths();
  for (const PathEntry& entry : now) {
    const auto old =
        std::find_if(known_.begin(), known_.end(), [&](const PathEntry& k) { return k.same_place(entry); });
    const bool was_known = old != known_.end();
    if (was_known ? old->entry == entry.entry : entry.entry == 0) continue;
    Step& step = add(Kind::change);
    step.table = entry.table;
    step.level = entry.level;
    step.address = entry.at;
    step.entry = entry.entry;
    if (was_known) step.before = old->entry;
  }
  // What has left the way is kept: it may come back.
  for (const PathEntry& entry : known_)
    if (std::none_of(now.begin(), now.end(), [&](const PathEntry& held) { return held.same_place(entry); }))
      now.push_back(entry);
  known_ = std::move(now);
}

void Narrator::walks(Gva gva) {
  note_changes();
  references_ = 0;
  add(Kind::walk).address = gva.value;
}

void Narrator::looks_up(hw::WalkCache cache, std::uint64_t address, int level) {
  Step& step = add(Kind::cache, name_of(cache));
  step.hit = level != 0;
  step.level = level;
  step.address = address;
}

void Narrator::reads(hw::Dimension dimension, int level, std::uint64_t at, std::uint64_t entry) {
  Step& step = add(Kind::read);
  step.number = ++references_;
  step.table = dimension == hw::Dimension::guest ? Table::guest
               : vm_.shadow() != nullptr         ? Table::shadow
                                                 : Table::second_stage;
  step.level = level;
  step.address = at;
  step.entry = entry;
  step.cycles = cost_of([](Counters& c) { c.walk_refs = 1; });
}

void Narrator::walks_in_software(std::uint64_t references) {
  Step& step = add(Kind::software);
  step.number = static_cast<int>(references);
  step.cycles = cost_of([&](Counters& c) { c.walk_refs = references; });
}

void Narrator::raises(const hw::Fault& fault) {
  if (fault.second_stage()) watched_.push_back(fault.gpa);
  note_changes();
  add(Kind::fault, std::string(hw::name_of(fault.kind))).fault = fault;
  raised_at_ = vcpu_.now();
}

void Narrator::decides(const hw::Fault& fault, hw::Outcome outcome) {
  note_changes();
  Step& step = add(Kind::decision, name_of(outcome));
  step.fault = fault;
  step.waited = vcpu_.now() - raised_at_;
}

void Narrator::handles(const hw::Fault& fault, hw::TrapResult result) {
  note_changes();
  add(Kind::handler, name_of(result)).fault = fault;
}

void Narrator::counts(ExitReason reason) {
  add(Kind::exit, name_of(reason)).cycles = cost_of([&](Counters& c) { c.count(reason); });
}

void Narrator::counts(FaultClass kind) {
  add(Kind::verdict, name_of(kind)).cycles = cost_of([&](Counters& c) { c.count(kind); });
}

}  // namespace vmem::sim
