// Behind a vmem_mmu.
#pragma once

#include <cstdint>

#include "capi/slots.hpp"
#include "hw/mmu.hpp"
#include "hw/physical_view.hpp"
#include "vmem/mmu.h"

namespace vmem::capi {

/// The caller's memory beyond its flat part. An entry that could not be read reads as zero, which no table format calls
/// present: nothing of it is ever cached.
class CallerMemory final : public hw::PhysicalBus {
 public:
  CallerMemory(vmem_read_fn read, vmem_write_fn write, void* user) : read_(read), write_(write), user_(user) {}

  std::uint64_t load(std::uint64_t pa) override {
    if (read_ == nullptr) return ~std::uint64_t{0};
    std::uint64_t value = 0;
    if (succeeds([&] { return read_(user_, pa, &value); })) return value;
    failed_ = true;
    return 0;
  }
  void store(std::uint64_t pa, std::uint64_t entry) override {
    if (write_ != nullptr && !succeeds([&] { return write_(user_, pa, entry); })) failed_ = true;
  }

  /// There are callbacks.
  bool calls() const { return read_ != nullptr || write_ != nullptr; }
  bool failed() const { return failed_; }
  void forgive() { failed_ = false; }

 private:
  vmem_read_fn read_;
  vmem_write_fn write_;
  void* user_;
  bool failed_ = false;
};

class MmuObject {
  enum class Use : std::uint8_t { idle, works, rests };

 public:
  MmuObject(const vmem_mmu_config& config, const hw::CpuConfig& cpu)
      : memory_(config.read, config.write, config.user),
        mmu_({static_cast<std::byte*>(config.memory), config.memory_bytes, &memory_}, cpu) {}

  class Rest;

  /// While it lives the MMU is at work, and calls from its callbacks are refused.
  class Work {
   public:
    explicit Work(MmuObject& object) : object_(object) {
      if (object.use_ == Use::works) [[unlikely]]
        throw Refusal(VMEM_E_BUSY, "this MMU is in the middle of a call; its callbacks may not use it");
      before_ = object.use_;
      object.use_ = Use::works;
    }
    ~Work() { object_.use_ = before_; }
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;
    hw::Mmu& mmu() { return object_.mmu_; }
    CallerMemory& memory() { return object_.memory_; }
    bool shadow() const { return object_.shadow_; }
    void set_shadow(bool shadow) {
      object_.shadow_ = shadow;
      object_.mmu_.set_linear_tables(shadow ? hw::LinearTables::hypervisor : hw::LinearTables::guest);
    }
    /// The status of what was done, unless the caller's memory failed meanwhile: then nothing that the MMU holds can be
    /// trusted, and it starts anew.
    vmem_status end(vmem_status status) {
      if (!object_.memory_.failed()) [[likely]]
        return status;
      object_.memory_.forgive();
      object_.mmu_.flush();
      return remember(VMEM_E_CALLBACK, "a callback of this MMU's memory failed; what the MMU held was dropped");
    }

   private:
    friend class MmuObject::Rest;
    MmuObject& object_;
    Use before_;
  };

  /// While it lives, during work, a fault handler of the caller's may use the MMU.
  class Rest {
   public:
    explicit Rest(Work& work) : object_(work.object_) { object_.use_ = Use::rests; }
    ~Rest() { object_.use_ = Use::works; }
    Rest(const Rest&) = delete;
    Rest& operator=(const Rest&) = delete;

   private:
    MmuObject& object_;
  };

  bool idle() const { return use_ == Use::idle; }

 private:
  CallerMemory memory_;
  hw::Mmu mmu_;
  bool shadow_ = false;
  Use use_ = Use::idle;
};

}  // namespace vmem::capi

template <>
struct vmem::capi::SlotOf<vmem_mmu> {
  using type = Slot<MmuObject, 0x756d6d5f6d656d76>;
};
