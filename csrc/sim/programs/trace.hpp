// A program that replays a trace: its references, and the mapping calls that were recorded between them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "sim/programs/program.hpp"

namespace vmem::sim {

/// A recorded call, or an area that the trace needs from the beginning.
struct ReplayedCall {
  enum class Kind : std::uint8_t { mmap, munmap, mprotect, brk };
  Kind kind = Kind::mmap;
  std::uint64_t start = 0, length = 0;
  guest::Protection protection;
  std::string name;
};

struct SingleReferences {
  std::vector<std::uint64_t> addresses;
  std::vector<std::uint8_t> kinds;  ///< valid ones
};

/// std::monostate: the trace is over. Runs are as a compactor makes them.
using TraceItem = std::variant<std::monostate, std::vector<Run>, SingleReferences, ReplayedCall>;

struct TraceConfig {
  std::vector<ReplayedCall> areas;  ///< what no call of the trace maps, to be mapped first
  std::function<TraceItem()> pull;  ///< the next item
  Nanoseconds compute = 0;
  PageSize page = PageSize::k4K;
};

class TraceProgram final : public Program {
 public:
  explicit TraceProgram(TraceConfig config) : config_(std::move(config)) {}
  Turn next(Session& session) override;

 private:
  void make(Session& session, const ReplayedCall& call);
  void replace(Session& session, std::uint64_t start, std::uint64_t length, const ReplayedCall& call);
  void fill_gaps(Session& session, const ReplayedCall& call);
  void map(Session& session, std::uint64_t start, std::uint64_t length, const ReplayedCall& call) const;

  TraceConfig config_;
  bool begun_ = false;
  TraceItem item_;
  std::map<std::uint64_t, std::uint64_t> heap_ends_;  ///< by the heap's start
};

}  // namespace vmem::sim
