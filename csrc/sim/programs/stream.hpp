// A program that maps its memory once and then references it by a formula.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sim/programs/batch.hpp"
#include "sim/workloads/references.hpp"

namespace vmem::sim {

struct StreamConfig {
  ReferenceStream references;
  std::uint64_t count = 0;  ///< references before it ends
  Nanoseconds compute = 0;
  PageSize page = PageSize::k4K;         ///< the largest of its mapping
  std::string name;                      ///< the mapping's
  std::optional<guest::FileRange> file;  ///< what it maps; nothing: anonymous memory
};

class StreamProgram final : public Program {
 public:
  explicit StreamProgram(StreamConfig config) : config_(std::move(config)) {}
  Turn next(Session& session) override;

 private:
  StreamConfig config_;
  std::uint64_t base_ = 0;  ///< 0: not mapped yet
  std::uint64_t made_ = 0;
  Batch batch_;
};

}  // namespace vmem::sim
