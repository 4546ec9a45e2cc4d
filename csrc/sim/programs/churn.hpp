// A program that forks and whose children end soon: a shell, a build, a pre-forking server.
#pragma once

#include <cstdint>
#include <utility>

#include "sim/programs/batch.hpp"
#include "sim/workloads/references.hpp"

namespace vmem::sim {

/// The parent touches all of its memory once. Then, child after child: the child makes its references, whose stores
/// break copy-on-write, and exits.
struct ChurnConfig {
  ReferenceStream references;  ///< of all children together; the memory is that of its offsets
  std::uint64_t children = 0;  ///< before it ends
  std::uint64_t each = 0;      ///< references of one child
  Nanoseconds compute = 0;
  PageSize page = PageSize::k4K;
};

class ChurnProgram final : public Program {
 public:
  explicit ChurnProgram(ChurnConfig config) : config_(std::move(config)) {}
  Turn next(Session& session) override;

 private:
  Turn touch();
  Turn run_child(std::uint64_t left);
  void change_child(Session& session);

  ChurnConfig config_;
  std::uint64_t base_ = 0;
  std::uint64_t touched_ = 0;  ///< bytes
  std::uint64_t made_ = 0;     ///< references of children
  guest::Process* parent_ = nullptr;
  Batch batch_;
};

}  // namespace vmem::sim
