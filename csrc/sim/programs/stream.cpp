#include "sim/programs/stream.hpp"

#include <algorithm>

namespace vmem::sim {

Turn StreamProgram::next(Session& session) {
  if (base_ == 0) {
    guest::MapRequest request;
    request.length = config_.references.offsets->size();
    request.largest = config_.page;
    request.name = config_.name;
    request.file = config_.file;
    base_ = session.kernel.mmap(session.vcpu, *session.process, request).start;
  }
  const std::size_t count = std::min<std::uint64_t>(Batch::kMost, config_.count - made_);
  if (count == 0) return {};
  config_.references.fill(base_, made_, std::span(batch_.addresses).first(count), std::span(batch_.kinds).first(count));
  made_ += count;
  return batch_.turn(count, config_.compute);
}

}  // namespace vmem::sim
