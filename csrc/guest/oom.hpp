// Whom the kernel kills when no memory is to be had (Linux: mm/oom_kill.c).
#pragma once

#include <cstdint>

#include "guest/process_table.hpp"

namespace vmem::guest {

/// oom_badness: what killing the process would free, in pages, and `oom_score_adj` thousandths of all memory more or
/// less. 0: it is not to be killed.
std::uint64_t oom_score(const Process& process, std::uint64_t total_pages);

/// The process with the highest score, the younger of two; nullptr: there is none to kill.
Process* oom_victim(const ProcessTable& processes, std::uint64_t total_pages);

}  // namespace vmem::guest
