#include "guest/oom.hpp"

#include <algorithm>

namespace vmem::guest {

std::uint64_t oom_score(const Process& process, std::uint64_t total_pages) {
  constexpr std::int64_t kNever = -1000;  // OOM_SCORE_ADJ_MIN
  if (process.killed || process.oom_score_adj == kNever) return 0;
  const auto pages = static_cast<std::int64_t>(process.resident + process.swapped + process.table.table_frames());
  const std::int64_t adjusted = pages + process.oom_score_adj * static_cast<std::int64_t>(total_pages) / 1000;
  return static_cast<std::uint64_t>(std::max<std::int64_t>(adjusted, 1));
}

Process* oom_victim(const ProcessTable& processes, std::uint64_t total_pages) {
  Process* victim = nullptr;
  std::uint64_t highest = 0;
  for (const auto& process : processes.all()) {
    const std::uint64_t score = oom_score(*process, total_pages);
    if (score == 0 || score < highest) continue;
    highest = score;
    victim = process.get();
  }
  return victim;
}

}  // namespace vmem::guest
