// What every virtio device has in common: the registers of the virtio-mmio transport, its queues and its interrupt.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "virtio/device_queue.hpp"
#include "virtio/mmio.hpp"
#include "vmm/device.hpp"
#include "vmm/guest_memory.hpp"

namespace vmem::vmm {

class Vm;

/// Takes requests only between DRIVER_OK and a reset. A driver that breaks a queue finds the device in need of a reset
/// (2.1.2), which disturbs nothing else. An interrupt goes to the vCPU whose notification it answers, as with a queue
/// for each.
class VirtioDevice : public Device {
 public:
  /// `window` is the device's place on the bus of the VM.
  VirtioDevice(Vm& vm, std::uint32_t window, std::uint32_t id, std::uint64_t features,
               const std::vector<std::uint16_t>& queue_sizes);

  std::uint32_t read(hw::Vcpu& vcpu, std::uint32_t offset) final;
  void write(hw::Vcpu& vcpu, std::uint32_t offset, std::uint32_t value) final;
  void before_interrupt(hw::Vcpu& vcpu) final;
  void reset() final;

  std::uint64_t offered() const { return offered_; }
  /// What driver and device agreed on; 0 before that.
  std::uint64_t negotiated() const { return is_up() ? accepted_ : 0; }
  bool has(std::uint64_t feature) const { return (negotiated() & feature) != 0; }
  /// A driver runs it.
  bool is_up() const {
    return (status_ & (virtio::status::kDriverOk | virtio::status::kNeedsReset)) == virtio::status::kDriverOk;
  }
  bool needs_reset() const { return (status_ & virtio::status::kNeedsReset) != 0; }
  /// Why it last came to need a reset; empty if it never did.
  const std::string& trouble() const { return trouble_; }

 protected:
  /// The driver has made requests available in a queue.
  virtual void on_notify(hw::Vcpu& vcpu, std::uint32_t queue) = 0;
  /// DRIVER_OK has been set.
  virtual void on_driver_ok(hw::Vcpu&) {}
  virtual void on_reset() {}
  /// 32 bits of configuration space; beyond its end ones.
  virtual std::uint32_t read_config(std::uint32_t offset) = 0;
  virtual void write_config(hw::Vcpu&, std::uint32_t, std::uint32_t) {}

  Vm& vm() { return vm_; }
  /// The next request of a queue. False: none; a broken queue has been dealt with.
  bool pop(GuestMemory& memory, std::uint32_t queue, virtio::Chain& chain);
  /// Gives a request back, now or at a time to come; never before one that was given back earlier.
  void push(GuestMemory& memory, std::uint32_t queue, std::uint16_t head, std::uint32_t written);
  void push_at(hw::Vcpu& vcpu, Nanoseconds at, std::uint32_t queue, std::uint16_t head, std::uint32_t written);
  /// The driver broke a rule after which the device cannot go on.
  void need_reset(hw::Vcpu& vcpu, const std::string& why);
  /// Configuration space is no longer what the driver may have read.
  void config_changed();
  const virtio::DeviceQueue& queue(std::uint32_t index) const { return queues_[index].queue; }

 private:
  struct Queue {
    std::uint16_t max_size;
    virtio::Rings set_up;  ///< as the driver has written it so far
    virtio::DeviceQueue queue;
  };
  struct Finished {
    Nanoseconds at;
    std::uint32_t queue;
    std::uint16_t head;
    std::uint32_t written;
    std::size_t vcpu;
  };
  std::uint32_t read_queue(std::uint32_t offset) const;
  void write_queue(hw::Vcpu& vcpu, std::uint32_t offset, std::uint32_t value);
  void write_status(hw::Vcpu& vcpu, std::uint32_t value);
  void notify(hw::Vcpu& vcpu, std::uint32_t queue);
  void raise(hw::Vcpu& vcpu, std::uint32_t reason);

  Vm& vm_;
  std::uint32_t id_;
  hw::Vector vector_;
  std::uint64_t offered_, accepted_ = 0;
  std::uint32_t status_ = 0, interrupt_status_ = 0, generation_ = 0;
  std::uint32_t device_features_select_ = 0, driver_features_select_ = 0, queue_select_ = 0;
  std::vector<Queue> queues_;
  std::deque<Finished> finished_;  ///< by time
  std::string trouble_;
};

}  // namespace vmem::vmm
