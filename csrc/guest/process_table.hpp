// The processes of a guest, and who may share pages with whom.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "guest/process.hpp"

namespace vmem::guest {

class ProcessTable {
 public:
  using Processes = std::vector<std::unique_ptr<Process>>;

  Process& add(std::unique_ptr<Process> process) {
    families_[process->family].push_back(process.get());
    processes_.push_back(std::move(process));
    return *processes_.back();
  }
  /// The child has joined the parent's family.
  void adopt(Process& child, const Process& parent) {
    leave_family(child);
    child.family = parent.family;
    families_[child.family].push_back(&child);
  }
  void erase(const Process& process) {
    leave_family(process);
    std::erase_if(processes_, [&](const auto& held) { return held.get() == &process; });
  }
  const Processes& all() const { return processes_; }
  /// By id, in the order in which they were made; empty if all have gone.
  const std::vector<Process*>& family(std::uint32_t id) const {
    static const std::vector<Process*> nobody;
    const auto found = families_.find(id);
    return found != families_.end() ? found->second : nobody;
  }

 private:
  void leave_family(const Process& process) {
    const auto found = families_.find(process.family);
    std::erase(found->second, &process);
    if (found->second.empty()) families_.erase(found);
  }

  Processes processes_;
  std::map<std::uint32_t, std::vector<Process*>> families_;
};

}  // namespace vmem::guest
