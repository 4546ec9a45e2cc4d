// The MMU alone, for C++: what vmem/mmu.h says, with errors as exceptions and lifetimes as objects.
#pragma once

#include <vmem/mmu.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vmem/error.hpp>

namespace vmem {

/// One MMU over the caller's memory. Moves; belongs to one thread at a time. Calls that fail throw Error.
class Mmu {
 public:
  /// `config` begins as structure<vmem_mmu_config>().
  explicit Mmu(const vmem_mmu_config& config) {
    vmem_mmu* made = nullptr;
    checked(vmem_mmu_create(&config, &made));
    handle_.reset(made);
  }
  /// Over flat memory, which must outlive it.
  Mmu(std::span<std::byte> memory, const char* cpu) : Mmu(flat(memory, cpu)) {}

  vmem_mmu* handle() const { return handle_.get(); }

  vmem_mmu_state state() const {
    auto state = structure<vmem_mmu_state>();
    checked(vmem_mmu_get_state(handle(), &state));
    return state;
  }
  void set_state(const vmem_mmu_state& state) { checked(vmem_mmu_set_state(handle(), &state)); }

  /// `fault` of the result is VMEM_NO_FAULT if it went through.
  vmem_result access(std::uint64_t va, std::uint32_t kind) {
    auto result = structure<vmem_result>();
    checked(vmem_mmu_access(handle(), va, kind, &result));
    return result;
  }
  vmem_result probe(std::uint64_t va, std::uint32_t kind) const {
    auto result = structure<vmem_result>();
    checked(vmem_mmu_probe(handle(), va, kind, &result));
    return result;
  }

  /// Accesses in order, faulting ones skipped. `kinds` is as long as `addresses`; `pas`, if not empty, too.
  void access_batch(std::span<const std::uint64_t> addresses, std::span<const std::uint8_t> kinds,
                    std::span<std::uint64_t> pas = {}) {
    check_lengths(addresses.size(), kinds.size(), pas);
    checked(vmem_mmu_access_batch(handle(), addresses.data(), kinds.data(), addresses.size(),
                                  pas.empty() ? nullptr : pas.data(), nullptr, nullptr, nullptr));
  }
  /// The same, with `on_fault(index, result)` for each fault, which answers VMEM_SKIP, VMEM_RETRY or VMEM_HALT. Returns
  /// how many accesses were made. What it throws ends the batch as an Error, VMEM_E_CALLBACK.
  template <class OnFault>
  std::uint64_t access_batch(std::span<const std::uint64_t> addresses, std::span<const std::uint8_t> kinds,
                             std::span<std::uint64_t> pas, OnFault&& on_fault) {
    check_lengths(addresses.size(), kinds.size(), pas);
    const auto call = [](void* user, std::uint64_t index, const vmem_result* fault) -> std::int32_t {
      return (*static_cast<std::remove_reference_t<OnFault>*>(user))(index, *fault);
    };
    std::uint64_t done = 0;
    checked(vmem_mmu_access_batch(handle(), addresses.data(), kinds.data(), addresses.size(),
                                  pas.empty() ? nullptr : pas.data(), call, std::addressof(on_fault), &done));
    return done;
  }

  void invlpg(std::uint64_t va) { checked(vmem_mmu_invlpg(handle(), va)); }
  void invpcid(std::uint32_t type, std::uint32_t pcid, std::uint64_t va) {
    checked(vmem_mmu_invpcid(handle(), type, pcid, va));
  }
  void invvpid(std::uint32_t type, std::uint32_t vpid, std::uint64_t va) {
    checked(vmem_mmu_invvpid(handle(), type, vpid, va));
  }
  void invept(std::uint32_t type, std::uint64_t eptp) { checked(vmem_mmu_invept(handle(), type, eptp)); }
  void mov_cr3(std::uint64_t value) { checked(vmem_mmu_mov_cr3(handle(), value)); }
  void mov_cr4(std::uint64_t value) { checked(vmem_mmu_mov_cr4(handle(), value)); }
  void flush() { checked(vmem_mmu_flush(handle())); }

  std::uint64_t counter(const char* name) const {
    std::uint64_t value = 0;
    checked(vmem_mmu_counter(handle(), name, &value));
    return value;
  }
  void reset_counters() { checked(vmem_mmu_reset_counters(handle())); }

 private:
  static vmem_mmu_config flat(std::span<std::byte> memory, const char* cpu) {
    auto config = structure<vmem_mmu_config>();
    config.cpu = cpu;
    config.memory = memory.data();
    config.memory_bytes = memory.size();
    return config;
  }
  static void check_lengths(std::size_t addresses, std::size_t kinds, std::span<std::uint64_t> pas) {
    if (kinds != addresses || (!pas.empty() && pas.size() != addresses))
      throw std::invalid_argument("a batch of " + std::to_string(addresses) + " addresses and " +
                                  std::to_string(kinds) + " kinds: accepted are arrays of one length");
  }

  struct Destroy {
    void operator()(vmem_mmu* mmu) const { vmem_mmu_destroy(mmu); }
  };
  std::unique_ptr<vmem_mmu, Destroy> handle_;
};

}  // namespace vmem
