#include "sim/programs/churn.hpp"

#include <algorithm>

namespace vmem::sim {

Turn ChurnProgram::next(Session& session) {
  const std::uint64_t size = config_.references.offsets->size();
  if (parent_ == nullptr) {
    guest::MapRequest request;
    request.length = size;
    request.largest = config_.page;
    request.name = "churn";
    base_ = session.kernel.mmap(session.vcpu, *session.process, request).start;
    parent_ = session.process;
  }
  if (touched_ < size) return touch();
  const std::uint64_t of_child = made_ % config_.each;
  if (of_child == 0) change_child(session);
  if (made_ == config_.children * config_.each) return {};
  return run_child(config_.each - of_child);
}

Turn ChurnProgram::touch() {
  const std::uint64_t size = config_.references.offsets->size();
  std::size_t count = 0;
  for (; count < Batch::kMost && touched_ < size; ++count, touched_ += kPageSize) {
    batch_.addresses[count] = base_ + touched_;
    batch_.kinds[count] = static_cast<std::uint8_t>(AccessKind::store);
  }
  return batch_.turn(count, config_.compute);
}

Turn ChurnProgram::run_child(std::uint64_t left) {
  const std::size_t count = std::min<std::uint64_t>(Batch::kMost, left);
  config_.references.fill(base_, made_, std::span(batch_.addresses).first(count), std::span(batch_.kinds).first(count));
  made_ += count;
  return batch_.turn(count, config_.compute);
}

/// The child that has made its references exits; the next one begins, if any.
void ChurnProgram::change_child(Session& session) {
  if (session.process != parent_) {
    session.kernel.switch_to(session.vcpu, *parent_);
    session.kernel.exit(session.vcpu, *session.process);
    session.process = parent_;
  }
  if (made_ < config_.children * config_.each) session.process = &session.kernel.fork(session.vcpu, *parent_);
}

}  // namespace vmem::sim
