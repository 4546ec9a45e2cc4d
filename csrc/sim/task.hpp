// A process that runs a program, as the scheduler sees it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/histogram.hpp"
#include "sim/guest.hpp"
#include "sim/programs/program.hpp"

namespace vmem::sim {

/// One or several runs of a program, each a process of its own, which exits when the program ends.
class Task {
 public:
  /// The first run is that of `process`. All `runs` together make at most `limit` references.
  Task(Guest& guest, std::size_t vcpu, const guest::Process& process, ProgramFactory program, std::uint64_t runs,
       std::uint64_t limit);

  std::uint16_t vm() const { return guest_->vm->id(); }
  std::size_t vcpu() const { return vcpu_; }
  const std::string& name() const { return name_; }
  std::uint64_t references() const { return references_; }
  std::uint64_t segfaults() const { return segfaults_; }
  Gva first_segfault() const { return first_segfault_; }
  std::uint64_t runs() const { return runs_; }
  bool ended() const { return ended_; }
  /// Why it was stopped; empty if it was not.
  const std::string& stopped() const { return stopped_; }
  /// Asleep until then; 0 if it can run.
  Nanoseconds asleep_until() const { return asleep_until_; }
  /// When its last reference had been made, as the scheduler has told.
  Nanoseconds progressed_at() const { return progressed_at_; }
  void progress_at(Nanoseconds time) { progressed_at_ = time; }
  /// What references cost, in picoseconds: see note_cost.
  const Histogram& costs() const { return costs_; }
  /// So many references in a row took `ran` on a CPU, besides what the program computes, and the last one then waited.
  void note_cost(std::uint64_t references, Nanoseconds ran, Nanoseconds waited);
  /// Of all of its runs.
  Bursts bursts() const;

  /// Goes on with at most `most` references, on its vCPU and with its process switched to; fewer at the end of a turn,
  /// when it waits, or when it falls asleep or ends. Returns the time that the program itself computed.
  Nanoseconds go_on(std::uint64_t most);

 private:
  void take_turn(hw::Vcpu& vcpu);
  void run_stretch(hw::Vcpu& vcpu, std::uint64_t most, hw::BatchResult& result);
  void finish(hw::Vcpu& vcpu);
  void drop_program();
  void stop(std::string why);
  guest::Process* find(int id) const;
  hw::BatchResult run_references(hw::Vcpu& vcpu, std::uint64_t most);
  hw::BatchResult run_runs(hw::Vcpu& vcpu, std::uint64_t most);

  Guest* guest_;
  std::size_t vcpu_;
  std::string name_;
  int main_, current_;  ///< process ids
  ProgramFactory factory_;
  std::unique_ptr<Program> program_;
  std::uint64_t runs_left_, limit_, runs_ = 0;
  Turn turn_;
  std::size_t at_ = 0;  ///< references or runs of the turn that have been made
  Run rest_{};          ///< what is left of the run at `at_`, if it has begun
  std::uint64_t references_ = 0, segfaults_ = 0;
  Gva first_segfault_;
  Nanoseconds compute_ = 0;  ///< of the turn that the last references were of
  Nanoseconds asleep_until_ = 0;
  Nanoseconds progressed_at_ = 0;
  Histogram costs_;
  Bursts past_bursts_;  ///< of runs that are over
  bool ended_ = false;
  std::string stopped_;
};

}  // namespace vmem::sim
