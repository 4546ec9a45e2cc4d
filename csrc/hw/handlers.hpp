// The two doors out of a running vCPU: down to the hypervisor (a VM exit) and up to the guest kernel (an exception).
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/address.hpp"
#include "hw/fault.hpp"
#include "hw/tlb_write.hpp"

namespace vmem::hw {

class Vcpu;

/// Where there is no memory: loads see ones, stores go nowhere.
inline constexpr Hpa kNoMemory{~std::uint64_t{0}};

/// What became of a fault.
enum class Outcome : std::uint8_t {
  retry,    ///< the hypervisor fixed it unseen: access again
  inject,   ///< a true fault: the guest kernel's handler runs, then access again
  emulate,  ///< the hypervisor performed the access itself
  stall,    ///< the vCPU waits for swap or disk
  kill,     ///< the VM cannot go on
};

/// What a guest may ask its hypervisor for by name. Numbers come from the guest: any value may arrive.
enum class Hypercall : std::uint32_t {
  none = 0,
  free_block = 0x100,  ///< gPFN, order: the guest has no use for what these frames hold
  free_batch = 0x101,  ///< gPA of an array of 8-byte numbers, gPFN << 8 | order; how many, at most 512
};
/// Answer to a hypercall that nobody serves (-KVM_ENOSYS).
inline constexpr std::uint64_t kNoHypercall = static_cast<std::uint64_t>(-1000);
/// Answer to a hypercall whose arguments are wrong (-EINVAL).
inline constexpr std::uint64_t kBadHypercall = static_cast<std::uint64_t>(-22);

/// Interrupt vectors of the guest.
using Vector = std::uint8_t;
inline constexpr Vector kTimerVector = 0xec;  ///< as Linux's LOCAL_TIMER_VECTOR

/// The hypervisor as silicon knows it: where a VM exit goes.
class ExitHandler {
 public:
  /// Any translation fault of the vCPU. Decides whose it is (vmm/dispatch.hpp). Outcome::inject: `fault` is what the
  /// guest sees. Outcome::emulate: its `gpa` is where the access goes.
  virtual Outcome on_fault(Vcpu& vcpu, Fault& fault) = 0;
  /// Modes without a hardware second stage: the bytes of the page of `gpa` for an access by the guest kernel; nullptr
  /// if the access must be emulated.
  virtual std::byte* on_guest_physical(Vcpu& vcpu, Gpa gpa, bool store) = 0;
  /// A store that must be emulated: to a traced guest table or to no memory at all. It does not cross a
  /// page.
  virtual void on_emulated_store(Vcpu& vcpu, Gpa gpa, const void* bytes, std::size_t size) = 0;
  /// The machine address behind an access that was emulated; kNoMemory if nothing is there.
  virtual Hpa emulated_address(Gpa gpa) = 0;
  /// Intercepted instructions; called only if the VM asked for the exit (Vcpu::Intercepts).
  virtual void on_cr3_write(Vcpu& vcpu, std::uint64_t value) = 0;
  virtual void on_invlpg(Vcpu& vcpu, Gva gva) = 0;
  /// The privileged TLB write of a processor whose kernel refills the TLB.
  virtual void on_tlb_write(Vcpu& vcpu, const TlbWrite& write) = 0;
  /// A device register, a doorbell among them.
  virtual std::uint32_t on_io_read(Vcpu& vcpu, std::uint32_t port) = 0;
  virtual void on_io_write(Vcpu& vcpu, std::uint32_t port, std::uint32_t value) = 0;
  virtual std::uint64_t on_hypercall(Vcpu& vcpu, Hypercall number, std::uint64_t first, std::uint64_t second) = 0;
  /// An interrupt is about to be delivered to the vCPU.
  virtual void on_interrupt(Vcpu& vcpu) = 0;

 protected:
  ~ExitHandler() = default;
};

/// What the guest kernel's page-fault handler did.
enum class TrapResult : std::uint8_t {
  resolved,  ///< the access can be made again
  signal,    ///< SIGSEGV or SIGBUS: the access is given up
  killed,    ///< the process is gone
};

/// The guest kernel as silicon knows it: its interrupt descriptor table.
class TrapHandler {
 public:
  virtual TrapResult on_page_fault(Vcpu& vcpu, const Fault& fault) = 0;
  /// tlb_refill or tlb_modified, of processors whose kernel refills the TLB. A kernel without such a handler cannot
  /// make the access.
  virtual TrapResult on_tlb_refill(Vcpu&, const Fault&) { return TrapResult::signal; }
  virtual void on_interrupt(Vcpu& vcpu, Vector vector) = 0;

 protected:
  ~TrapHandler() = default;
};

}  // namespace vmem::hw
