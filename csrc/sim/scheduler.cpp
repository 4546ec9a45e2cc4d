#include "sim/scheduler.hpp"

#include <algorithm>
#include <utility>

namespace vmem::sim {
namespace {

constexpr Nanoseconds kNever = hw::Interrupts::kNever;

/// A vCPU that runs programs: batches end when it waits, and its time goes ahead of the host's clock.
class Running {
 public:
  explicit Running(hw::Vcpu& vcpu) : vcpu_(vcpu) { vcpu_.yield_on_wait(true); }
  ~Running() {
    vcpu_.yield_on_wait(false);
    vcpu_.set_lead(0);
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  hw::Vcpu& vcpu_;
};

}  // namespace

/// A vCPU and its tasks.
struct Scheduler::Entity {
  VcpuClock* clock;
  std::vector<Task*> tasks;  ///< the one to go on with comes first
  std::uint64_t last = 0;    ///< number of its last slice

  /// When the next of its tasks can run, waits of the vCPU aside.
  Nanoseconds next_task() const {
    Nanoseconds earliest = kNever;
    for (const Task* task : tasks) earliest = std::min(earliest, task->asleep_until());
    return earliest;
  }
  /// When it has something to do and can do it.
  Nanoseconds runnable_at() const {
    if (clock->is_paused) return kNever;
    return std::max(clock->ready_at, std::min(next_task(), clock->vcpu->interrupts().next()));
  }
  /// Brings the next task that can run at `now` to the front; false if there is none.
  bool choose(Nanoseconds now) {
    const auto ready = [&](const Task* task) { return task->asleep_until() <= now; };
    const auto found = std::find_if(tasks.begin(), tasks.end(), ready);
    if (found == tasks.end()) return false;
    std::rotate(tasks.begin(), found, tasks.end());
    return true;
  }
};

/// What one call of run_until goes by.
struct Scheduler::Run {
  Nanoseconds began;
  std::uint64_t goal;        ///< references
  std::uint64_t references;  ///< made by all tasks since they were started
  std::size_t left;          ///< tasks that have not ended
  const Poll& poll;
};

std::uint64_t Scheduler::start(std::unique_ptr<Task> task) {
  tasks_.emplace(next_task_, std::move(task));
  return next_task_++;
}

void Scheduler::remove(const vmm::Vm& vm) {
  std::erase_if(tasks_, [&](const auto& task) { return task.second->vm() == vm.id(); });
}

std::vector<Scheduler::Entity> Scheduler::entities() {
  std::vector<Entity> found;
  for (auto& [id, clocks] : time_.all()) {
    for (std::size_t i = 0; i < clocks.size(); ++i) {
      Entity entity{&clocks[i], {}};
      for (const auto& [number, task] : tasks_)
        if (task->vm() == id && task->vcpu() == i && !task->ended()) entity.tasks.push_back(task.get());
      found.push_back(std::move(entity));
    }
  }
  return found;
}

Scheduler::End Scheduler::run_until(Nanoseconds time, std::uint64_t references, const Poll& poll) {
  Clock& clock = hypervisor_.host().clock;
  std::vector<Entity> all = entities();
  std::vector<Nanoseconds> free_at(cpus_ == 0 ? all.size() : cpus_, clock.now());
  Run run{clock.now(), references, 0, 0, poll};
  for (const auto& [number, task] : tasks_) {
    run.references += task->references();
    run.left += task->ended() ? 0 : 1;
  }
  for (std::uint64_t slice = 1; run.left > 0; ++slice) {
    if (run.references >= run.goal) return End::references;
    Entity* chosen = nullptr;
    Nanoseconds runnable = kNever;
    for (Entity& entity : all) {
      const Nanoseconds at = entity.runnable_at();
      if (at > runnable || (at == runnable && (chosen == nullptr || entity.last >= chosen->last))) continue;
      chosen = &entity;
      runnable = at;
    }
    const auto cpu = std::min_element(free_at.begin(), free_at.end());
    const Nanoseconds start = std::max({runnable, *cpu, clock.now()});
    const Nanoseconds daemons = time_.next_daemon();
    if (daemons <= std::min(start, time)) {
      clock.advance_to(daemons);
      time_.run_daemons();
      if (!poll(clock.now() - run.began)) return End::interrupted;
      continue;
    }
    if (start >= time) break;
    clock.advance_to(start);
    chosen->clock->times.runnable += start - std::max(runnable, run.began);
    chosen->last = slice;
    const bool goes_on = run_slice(*chosen, std::min({start + quantum_, daemons, time}), run);
    *cpu = chosen->clock->left_at;
    if (!goes_on) return End::interrupted;
  }
  if (run.left > 0) {
    for (const Entity& entity : all)
      if (const Nanoseconds at = std::max(entity.runnable_at(), run.began); at < time)
        entity.clock->times.runnable += time - at;
    clock.advance_to(time);
    return End::time;
  }
  Nanoseconds last = clock.now();
  for (const Entity& entity : all) last = std::max(last, entity.clock->left_at);
  time_.advance_to(std::min(last, time));
  return End::tasks;
}

/// Delivers what is due to a vCPU whose slice began at `start`, one after the other, each when the one before is over.
void Scheduler::take_interrupts(VcpuClock& clock, Nanoseconds start, Nanoseconds limit) {
  hw::Vcpu& vcpu = *clock.vcpu;
  while (clock.ready_at == clock.left_at && clock.left_at < limit && vcpu.interrupts().next() <= clock.left_at) {
    vcpu.set_lead(clock.left_at - start);
    vcpu.deliver_interrupt();
    time_.settle(clock, clock.left_at, 0);
  }
}

/// Runs the vCPU from now to `limit`, or less. False if the poll said no.
bool Scheduler::run_slice(Entity& entity, Nanoseconds limit, Run& run) {
  VcpuClock& clock = *entity.clock;
  hw::Vcpu& vcpu = *clock.vcpu;
  const Running running(vcpu);
  const Nanoseconds start = time_.now();
  Nanoseconds per_reference = 1;  // of the last stretch
  bool goes_on = true;
  time_.settle(clock, start, 0);
  take_interrupts(clock, start, limit);
  while (goes_on && clock.ready_at == clock.left_at && clock.left_at < limit && entity.choose(clock.left_at)) {
    Task& task = *entity.tasks.front();
    const Nanoseconds before = clock.left_at;
    vcpu.set_lead(before - start);
    const std::uint64_t made = task.references();
    // Half of what should fit: a stretch that is dearer than the last one overruns the quantum by little.
    const Nanoseconds computed = task.go_on(1 + (limit - before) / (2 * per_reference));
    time_.settle(clock, before, computed);
    run.references += task.references() - made;
    task.note_cost(task.references() - made, clock.left_at - before - computed, clock.ready_at - clock.left_at);
    if (task.references() > made) {
      per_reference = 1 + (clock.left_at - before) / (task.references() - made);
      task.progress_at(clock.left_at);
    }
    if (task.ended()) {
      --run.left;
      entity.tasks.erase(entity.tasks.begin());
    }
    take_interrupts(clock, start, limit);
    goes_on = run.poll(before - run.began);
    if (run.references >= run.goal) break;
  }
  if (entity.tasks.size() > 1) std::rotate(entity.tasks.begin(), entity.tasks.begin() + 1, entity.tasks.end());
  return goes_on;
}

}  // namespace vmem::sim
