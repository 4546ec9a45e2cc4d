#include "sim/programs/trace.hpp"

#include <algorithm>
#include <utility>

namespace vmem::sim {

Turn TraceProgram::next(Session& session) {
  if (!std::exchange(begun_, true))
    for (const ReplayedCall& area : config_.areas) fill_gaps(session, area);
  for (;;) {
    item_ = config_.pull();
    Turn turn;
    turn.compute = config_.compute;
    if (std::holds_alternative<std::monostate>(item_)) return {};
    if (const auto* const call = std::get_if<ReplayedCall>(&item_)) {
      make(session, *call);
    } else if (const auto* const runs = std::get_if<std::vector<Run>>(&item_)) {
      turn.kind = Turn::Kind::runs;
      turn.runs = *runs;
      if (!runs->empty()) return turn;
    } else {
      const auto& single = std::get<SingleReferences>(item_);
      turn.kind = Turn::Kind::references;
      turn.addresses = single.addresses;
      turn.kinds = single.kinds;
      if (!single.addresses.empty()) return turn;
    }
  }
}

void TraceProgram::make(Session& session, const ReplayedCall& call) {
  const std::uint64_t end = call.start + call.length;
  switch (call.kind) {
    case ReplayedCall::Kind::munmap:
      session.kernel.munmap(session.vcpu, *session.process, call.start, call.length);
      return;
    case ReplayedCall::Kind::mmap:
      replace(session, call.start, call.length, call);
      return;
    case ReplayedCall::Kind::mprotect:
      // Of what was mapped before the recording began, a trace knows only the pages that were touched. The call
      // succeeded, so all of its range was mapped.
      fill_gaps(session, call);
      session.kernel.mprotect(session.vcpu, *session.process, call.start, call.length, call.protection);
      return;
    case ReplayedCall::Kind::brk: {
      const auto known = heap_ends_.try_emplace(call.start, call.start).first;
      const std::uint64_t old = std::exchange(known->second, end);
      if (end > old) replace(session, old, end - old, call);
      if (end < old) session.kernel.munmap(session.vcpu, *session.process, end, old - end);
      return;
    }
  }
}

/// What a call maps may be mapped already, from the beginning, but has not been touched then.
void TraceProgram::replace(Session& session, std::uint64_t start, std::uint64_t length, const ReplayedCall& call) {
  session.kernel.munmap(session.vcpu, *session.process, start, length);
  map(session, start, length, call);
}

void TraceProgram::fill_gaps(Session& session, const ReplayedCall& call) {
  const std::uint64_t end = call.start + call.length;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> gaps;
  std::uint64_t at = call.start;
  for (const auto& [start, area] : session.process->areas.areas()) {
    if (area.end <= at || start >= end) continue;
    if (start > at) gaps.emplace_back(at, start);
    at = area.end;
  }
  if (at < end) gaps.emplace_back(at, end);
  for (const auto& [first, last] : gaps) map(session, first, last - first, call);
}

void TraceProgram::map(Session& session, std::uint64_t start, std::uint64_t length, const ReplayedCall& call) const {
  guest::MapRequest request;
  request.length = length;
  request.address = start;
  request.protection = call.protection;
  request.largest = config_.page;
  request.name = call.name;
  session.kernel.mmap(session.vcpu, *session.process, request);
}

}  // namespace vmem::sim
