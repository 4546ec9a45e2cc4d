#include "vmm/virtio_device.hpp"

#include <algorithm>

#include "vmm/device_bus.hpp"
#include "vmm/vm.hpp"

namespace vmem::vmm {
namespace {

namespace reg = virtio::reg;
namespace status = virtio::status;
static_assert(DeviceBus::kWindow == virtio::kWindow);

void set_low(Gpa& address, std::uint32_t value) { address.value = (address.value >> 32 << 32) | value; }
void set_high(Gpa& address, std::uint32_t value) {
  address.value = (address.value & 0xffff'ffff) | static_cast<std::uint64_t>(value) << 32;
}
std::uint32_t half(std::uint64_t value, std::uint32_t select) {
  return select > 1 ? 0 : static_cast<std::uint32_t>(value >> (32 * select));
}

}  // namespace

VirtioDevice::VirtioDevice(Vm& vm, std::uint32_t window, std::uint32_t id, std::uint64_t features,
                           const std::vector<std::uint16_t>& queue_sizes)
    : vm_(vm),
      id_(id),
      vector_(virtio::vector_of(window)),
      offered_(features | virtio::kVersion1 | virtio::kIndirectDescriptors | virtio::kEventIndex) {
  for (const std::uint16_t size : queue_sizes) queues_.push_back({size, {}, {}});
}

std::uint32_t VirtioDevice::read(hw::Vcpu&, std::uint32_t offset) {
  if (offset >= reg::kConfig) return read_config(offset - reg::kConfig);
  switch (offset) {
    case reg::kMagic:
      return virtio::kMagicValue;
    case reg::kVersion:
      return virtio::kVersionValue;
    case reg::kDeviceId:
      return id_;
    case reg::kVendorId:
      return virtio::kVendorValue;
    case reg::kDeviceFeatures:
      return half(offered_, device_features_select_);
    case reg::kInterruptStatus:
      return interrupt_status_;
    case reg::kStatus:
      return status_;
    case reg::kConfigGeneration:
      return generation_;
    default:
      return read_queue(offset);
  }
}

std::uint32_t VirtioDevice::read_queue(std::uint32_t offset) const {
  if (queue_select_ >= queues_.size()) return 0;
  const Queue& queue = queues_[queue_select_];
  if (offset == reg::kQueueSizeMax) return queue.max_size;
  return offset == reg::kQueueReady && queue.queue.is_ready() ? 1 : 0;
}

void VirtioDevice::write(hw::Vcpu& vcpu, std::uint32_t offset, std::uint32_t value) {
  if (offset >= reg::kConfig) {
    write_config(vcpu, offset - reg::kConfig, value);
    return;
  }
  switch (offset) {
    case reg::kDeviceFeaturesSelect:
      device_features_select_ = value;
      break;
    case reg::kDriverFeaturesSelect:
      driver_features_select_ = value;
      break;
    case reg::kDriverFeatures:
      if ((status_ & status::kFeaturesOk) != 0 || driver_features_select_ > 1) break;  // agreed is agreed
      accepted_ &= ~(0xffff'ffffull << (32 * driver_features_select_));
      accepted_ |= static_cast<std::uint64_t>(value) << (32 * driver_features_select_);
      break;
    case reg::kQueueSelect:
      queue_select_ = value;
      break;
    case reg::kQueueNotify:
      notify(vcpu, value);
      break;
    case reg::kInterruptAck:
      interrupt_status_ &= ~value;
      break;
    case reg::kStatus:
      write_status(vcpu, value);
      break;
    default:
      write_queue(vcpu, offset, value);
      break;
  }
}

void VirtioDevice::write_queue(hw::Vcpu& vcpu, std::uint32_t offset, std::uint32_t value) {
  if (queue_select_ >= queues_.size()) return;
  Queue& queue = queues_[queue_select_];
  if (offset == reg::kQueueReady) {
    if (value == 0) {
      queue.queue.stop();
      return;
    }
    if (queue.queue.is_ready()) return;
    const GuestMemory memory(vm_, vcpu);
    const virtio::QueueError error =
        queue.queue.start(queue.set_up, queue.max_size,
                          {(accepted_ & virtio::kIndirectDescriptors) != 0, (accepted_ & virtio::kEventIndex) != 0},
                          [&](Gpa at, std::uint64_t bytes) { return memory.contains(at, bytes); });
    if (error != virtio::QueueError::none) need_reset(vcpu, virtio::text(error));
    return;
  }
  if (queue.queue.is_ready()) return;  // the driver must not (4.2.3.2)
  switch (offset) {
    case reg::kQueueSize:
      // What 16 bits do not hold is as wrong as 0.
      queue.set_up.size = value > virtio::kMaxQueueSize ? std::uint16_t{0} : static_cast<std::uint16_t>(value);
      break;
    case reg::kDescriptorsLow:
      set_low(queue.set_up.descriptors, value);
      break;
    case reg::kDescriptorsHigh:
      set_high(queue.set_up.descriptors, value);
      break;
    case reg::kDriverLow:
      set_low(queue.set_up.available, value);
      break;
    case reg::kDriverHigh:
      set_high(queue.set_up.available, value);
      break;
    case reg::kDeviceLow:
      set_low(queue.set_up.used, value);
      break;
    case reg::kDeviceHigh:
      set_high(queue.set_up.used, value);
      break;
    default:
      break;
  }
}

void VirtioDevice::write_status(hw::Vcpu& vcpu, std::uint32_t value) {
  if (value == 0) {
    reset();
    return;
  }
  const std::uint32_t before = status_;
  // Bits are only ever added, and NEEDS_RESET is the device's.
  status_ |=
      value & (status::kAcknowledge | status::kDriver | status::kDriverOk | status::kFeaturesOk | status::kFailed);
  const std::uint32_t set = status_ & ~before;
  const bool agreed = (accepted_ & ~offered_) == 0 && (accepted_ & virtio::kVersion1) != 0;
  if ((set & status::kFeaturesOk) != 0 && !agreed) status_ &= ~status::kFeaturesOk;
  if ((status_ & status::kFeaturesOk) == 0) status_ &= ~status::kDriverOk;
  if ((set & status_ & status::kDriverOk) != 0 && is_up()) on_driver_ok(vcpu);
}

void VirtioDevice::reset() {
  status_ = interrupt_status_ = 0;
  accepted_ = 0;
  device_features_select_ = driver_features_select_ = queue_select_ = 0;
  for (Queue& queue : queues_) {
    queue.set_up = {};
    queue.queue.stop();
  }
  finished_.clear();
  on_reset();
}

void VirtioDevice::notify(hw::Vcpu& vcpu, std::uint32_t queue) {
  if (is_up() && queue < queues_.size() && queues_[queue].queue.is_ready()) on_notify(vcpu, queue);
}

bool VirtioDevice::pop(GuestMemory& memory, std::uint32_t queue, virtio::Chain& chain) {
  if (!is_up()) return false;
  if (queues_[queue].queue.pop(memory, chain)) return true;
  if (queues_[queue].queue.error() != virtio::QueueError::none)
    need_reset(memory.vcpu(), virtio::text(queues_[queue].queue.error()));
  return false;
}

void VirtioDevice::push(GuestMemory& memory, std::uint32_t queue, std::uint16_t head, std::uint32_t written) {
  if (queues_[queue].queue.push(memory, head, written)) raise(memory.vcpu(), virtio::kUsedBuffer);
}

void VirtioDevice::push_at(hw::Vcpu& vcpu, Nanoseconds at, std::uint32_t queue, std::uint16_t head,
                           std::uint32_t written) {
  if (!finished_.empty()) at = std::max(at, finished_.back().at);
  finished_.push_back({at, queue, head, written, static_cast<std::size_t>(vcpu.id())});
  vcpu.interrupts().raise(vector_, at);
}

void VirtioDevice::before_interrupt(hw::Vcpu& vcpu) {
  const Nanoseconds now = vcpu.now();
  while (!finished_.empty() && finished_.front().at <= now) {
    const Finished done = finished_.front();
    finished_.pop_front();
    GuestMemory memory(vm_, vm_.vcpu(done.vcpu));
    if (queues_[done.queue].queue.push(memory, done.head, done.written)) interrupt_status_ |= virtio::kUsedBuffer;
  }
  // Raised before, but one interrupt stands for all that were pending.
  const auto later = std::find_if(finished_.begin(), finished_.end(), [&](const Finished& other) {
    return other.vcpu == static_cast<std::size_t>(vcpu.id());
  });
  if (later != finished_.end()) vcpu.interrupts().raise(vector_, later->at);
}

void VirtioDevice::raise(hw::Vcpu& vcpu, std::uint32_t reason) {
  interrupt_status_ |= reason;
  vcpu.interrupts().raise(vector_, vcpu.now());
}

void VirtioDevice::need_reset(hw::Vcpu& vcpu, const std::string& why) {
  if (needs_reset()) return;
  trouble_ = why;
  const bool was_up = is_up();
  status_ |= status::kNeedsReset;
  finished_.clear();
  vm_.host().events.add("device_needs_reset", vm_.config().name, {{"device", id_}});
  if (was_up) raise(vcpu, virtio::kConfigChange);
}

void VirtioDevice::config_changed() {
  ++generation_;
  if (is_up()) raise(vm_.vcpu(0), virtio::kConfigChange);
}

}  // namespace vmem::vmm
