#include "sim/task.hpp"

#include <algorithm>
#include <utility>

#include "core/error.hpp"

namespace vmem::sim {
namespace {

/// Takes at most `most` references off a run: those of its first kind, then the others.
Run take_from(Run& rest, std::uint64_t most) {
  const bool stores_first = first_kind(rest) == AccessKind::store;
  std::uint32_t& first = stores_first ? rest.stores : rest.loads;
  std::uint32_t& other = stores_first ? rest.loads : rest.stores;
  Run part = rest;
  std::uint32_t& part_first = stores_first ? part.stores : part.loads;
  std::uint32_t& part_other = stores_first ? part.loads : part.stores;
  part_first = static_cast<std::uint32_t>(std::min<std::uint64_t>(first, most));
  part_other = static_cast<std::uint32_t>(std::min<std::uint64_t>(other, most - part_first));
  first -= part_first;
  other -= part_other;
  return part;
}

bool is_empty(const Run& run) { return run.loads == 0 && run.stores == 0; }

}  // namespace

Task::Task(Guest& guest, std::size_t vcpu, const guest::Process& process, ProgramFactory program, std::uint64_t runs,
           std::uint64_t limit)
    : guest_(&guest),
      vcpu_(vcpu),
      name_(process.name),
      main_(process.id),
      current_(process.id),
      factory_(std::move(program)),
      runs_left_(runs),
      limit_(limit) {}

guest::Process* Task::find(int id) const {
  for (const auto& process : guest_->kernel->processes())
    if (process->id == id) return process.get();
  return nullptr;
}

Nanoseconds Task::go_on(std::uint64_t most) {
  hw::Vcpu& vcpu = guest_->vm->vcpu(vcpu_);
  hw::BatchResult result;
  try {
    run_stretch(vcpu, std::min(most, limit_ - references_), result);
    if (references_ + result.done == limit_ && !ended_) {
      runs_left_ = 0;
      finish(vcpu);
    }
  } catch (const OutOfMemory& error) {
    stop(error.what());
  }
  if (segfaults_ == 0 && result.signals > 0) first_segfault_ = result.first_signal;
  segfaults_ += result.signals;
  references_ += result.done;
  return result.done * compute_;
}

void Task::run_stretch(hw::Vcpu& vcpu, std::uint64_t most, hw::BatchResult& result) {
  const std::size_t length = turn_.kind == Turn::Kind::runs ? turn_.runs.size() : turn_.addresses.size();
  if (at_ == length) take_turn(vcpu);
  if (ended_ || turn_.kind == Turn::Kind::idle || turn_.kind == Turn::Kind::end) return;
  guest::Process* const process = find(current_);
  if (process == nullptr || find(main_) == nullptr) {
    stop("its process has exited");
    return;
  }
  guest_->kernel->switch_to(vcpu, *process);
  result = turn_.kind == Turn::Kind::runs ? run_runs(vcpu, most) : run_references(vcpu, most);
  compute_ = turn_.compute;
  if (result.stopped || process->killed)
    stop(process->killed ? "its guest is out of memory" : "the host has no memory left for its VM");
}

void Task::take_turn(hw::Vcpu& vcpu) {
  at_ = 0;
  asleep_until_ = 0;
  rest_ = {};
  turn_ = {};  // if its next one cannot be had, the last one is over all the same
  if (program_ == nullptr) {
    program_ = factory_();
    ++runs_;
    --runs_left_;
  }
  guest::Process* process = find(current_);
  if (process == nullptr || find(main_) == nullptr || process->killed) {
    stop(process != nullptr && process->killed ? "its guest is out of memory" : "its process has exited");
    return;
  }
  guest_->kernel->switch_to(vcpu, *process);
  Session session{*guest_->kernel, vcpu, process};
  turn_ = program_->next(session);
  current_ = process->id;
  switch (turn_.kind) {
    case Turn::Kind::end:
      finish(vcpu);
      break;
    case Turn::Kind::idle:
      asleep_until_ = turn_.until;
      break;
    case Turn::Kind::references:
    case Turn::Kind::runs:
      break;
  }
}

void Task::note_cost(std::uint64_t references, Nanoseconds ran, Nanoseconds waited) {
  constexpr std::uint64_t kPicoseconds = 1000;  // in a nanosecond
  if (references == 0) return;
  const std::uint64_t each = ran * kPicoseconds / references;
  costs_.add(each, references - (waited != 0 ? 1 : 0));
  if (waited != 0) costs_.add(each + waited * kPicoseconds, 1);
}

Bursts Task::bursts() const {
  Bursts all = past_bursts_;
  if (program_ != nullptr) all += program_->bursts();
  return all;
}

void Task::drop_program() {
  past_bursts_ = bursts();
  program_.reset();
}

/// The program is over: its process exits, and the next run begins.
void Task::finish(hw::Vcpu& vcpu) {
  turn_ = {};
  drop_program();
  if (guest::Process* const process = find(main_)) guest_->kernel->exit(vcpu, *process);
  if (runs_left_ == 0) {
    ended_ = true;
    return;
  }
  main_ = current_ = guest_->kernel->spawn(vcpu, name_).id;
}

void Task::stop(std::string why) {
  stopped_ = std::move(why);
  ended_ = true;
  drop_program();
  turn_ = {};
}

hw::BatchResult Task::run_references(hw::Vcpu& vcpu, std::uint64_t most) {
  const std::size_t count = std::min<std::uint64_t>(most, turn_.addresses.size() - at_);
  const hw::BatchResult result = vcpu.access_batch(turn_.addresses.data() + at_, turn_.kinds.data() + at_, count);
  at_ += result.done;
  return result;
}

hw::BatchResult Task::run_runs(hw::Vcpu& vcpu, std::uint64_t most) {
  hw::BatchResult sum;
  while (at_ < turn_.runs.size() && sum.done < most && !sum.stopped && !sum.waits) {
    if (is_empty(rest_)) rest_ = turn_.runs[at_];
    Run part = take_from(rest_, most - sum.done);
    const hw::BatchResult result = vcpu.access_run(Gva{page_address(part)}, first_kind(part), part.loads, part.stores);
    // A wait ends a run early; what was not made goes back.
    const std::uint64_t left = std::uint64_t{part.loads} + part.stores - result.done;
    take_from(part, result.done);
    if (left != 0) {
      rest_.loads += part.loads;
      rest_.stores += part.stores;
    }
    if (is_empty(rest_)) ++at_;
    sum.add(result);
  }
  return sum;
}

}  // namespace vmem::sim
