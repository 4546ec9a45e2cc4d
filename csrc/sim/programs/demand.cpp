#include "sim/programs/demand.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "core/error.hpp"
#include "hw/interrupts.hpp"

namespace vmem::sim {

DemandProgram::DemandProgram(DemandConfig config) : config_(std::move(config)) {
  const auto& curve = config_.curve;
  if (curve.empty() || curve.front().at != 0) throw ConfigError("a demand curve: accepted is one that begins at 0");
  reserved_ = kPageSize;
  for (std::size_t i = 0; i < curve.size(); ++i) {
    const DemandPoint& point = curve[i];
    const std::string where = "demand curve, point " + std::to_string(i) + ": ";
    if (i > 0 && point.at <= curve[i - 1].at) throw ConfigError(where + "accepted are times that ascend");
    if (((point.allocated | point.active) & kPageMask) != 0 || point.active > point.allocated)
      throw ConfigError(where + "accepted are multiples of 4 KiB, and no more active than allocated");
    reserved_ = std::max(reserved_, point.allocated);
    offsets_.push_back(point.active == 0 ? nullptr : uniform_offsets(point.active));
  }
}

Turn DemandProgram::next(Session& session) {
  const Nanoseconds now = session.vcpu.now();
  if (base_ == 0) {
    // The address space is reserved at once, so that it grows in place; what is not mapped is a gap within.
    guest::MapRequest request;
    request.length = reserved_;
    request.largest = config_.page;
    request.name = "demand";
    base_ = session.kernel.mmap(session.vcpu, *session.process, request).start;
    session.kernel.munmap(session.vcpu, *session.process, base_, reserved_);
    start_ = now;
    at_ = 0;
  }
  while (at_ + 1 < config_.curve.size() && now - start_ >= config_.curve[at_ + 1].at) ++at_;
  follow(session);
  if (touched_ < mapped_) return touch();
  if (is_growing_) end_burst(session.vcpu.now());
  if (config_.curve[at_].active != 0) return use();
  Turn idle;
  idle.kind = Turn::Kind::idle;
  idle.until = at_ + 1 < config_.curve.size() ? start_ + config_.curve[at_ + 1].at : hw::Interrupts::kNever;
  return idle;
}

void DemandProgram::follow(Session& session) {
  const std::uint64_t wanted = config_.curve[at_].allocated;
  if (wanted > mapped_) {
    if (!std::exchange(is_growing_, true)) {
      grew_at_ = start_ + config_.curve[at_].at;
      grew_from_ = mapped_;
    }
    guest::MapRequest request;
    request.length = wanted - mapped_;
    request.address = base_ + mapped_;
    request.largest = config_.page;
    request.name = "demand";
    session.kernel.mmap(session.vcpu, *session.process, request);
  } else if (wanted < mapped_) {
    if (std::exchange(is_growing_, false)) ++bursts_.cut_short;
    session.kernel.munmap(session.vcpu, *session.process, base_ + wanted, mapped_ - wanted);
  }
  mapped_ = wanted;
  touched_ = std::min(touched_, mapped_);
}

void DemandProgram::end_burst(Nanoseconds now) {
  is_growing_ = false;
  const Nanoseconds took = now - std::min(now, grew_at_);
  bursts_ += {1, mapped_ - grew_from_, took, took, 0};
}

Turn DemandProgram::touch() {
  std::size_t count = 0;
  for (; count < Batch::kMost && touched_ < mapped_; ++count, touched_ += kPageSize) {
    batch_.addresses[count] = base_ + touched_;
    batch_.kinds[count] = static_cast<std::uint8_t>(AccessKind::store);
  }
  return batch_.turn(count, 0);
}

Turn DemandProgram::use() {
  // Few enough that a change of the curve is seen within a millisecond or so.
  const std::uint64_t room = config_.compute == 0 ? Batch::kMost : kMillisecond / config_.compute;
  const std::size_t count = std::clamp<std::uint64_t>(room, 1, Batch::kMost);
  const ReferenceStream references{offsets_[at_], config_.stores, config_.seed};
  references.fill(base_, made_, std::span(batch_.addresses).first(count), std::span(batch_.kinds).first(count));
  made_ += count;
  return batch_.turn(count, config_.compute);
}

}  // namespace vmem::sim
