#include "vmm/vm.hpp"

#include <algorithm>
#include <string>

#include "core/error.hpp"
#include "hw/walker.hpp"
#include "vmm/dispatch.hpp"
#include "vmm/guest_walk.hpp"
#include "vmm/reclaim/free_list_scan.hpp"
#include "vmm/reclaim/reclaim.hpp"
#include "vmm/reclaim/reclaim_source.hpp"
#include "vmm/shadow/shadow_mmu.hpp"
#include "vmm/software_tlb/software_tlb.hpp"
#include "vmm/unmap.hpp"

namespace vmem::vmm {
namespace {

const VmConfig& checked(const VmConfig& config, const memory::MachineMemory& memory) {
  const std::string who = "VM '" + config.name + "': ";
  if (config.memory == 0 || (config.memory & kPageMask) != 0)
    throw ConfigError(who + "memory of " + std::to_string(config.memory) +
                      " bytes: accepted is a positive multiple of 4096");
  if (config.memory > 1ull << 44)
    throw ConfigError(who + "memory of " + std::to_string(config.memory) + " bytes: accepted is up to 16 TiB");
  if (config.vcpus < 1 || config.vcpus > kMaxVcpus)
    throw ConfigError(who + std::to_string(config.vcpus) + " vCPUs: accepted is 1 to " + std::to_string(kMaxVcpus));
  if (config.reservation > config.memory || (config.limit != 0 && config.reservation > config.limit))
    throw ConfigError(who + "a reservation of " + std::to_string(config.reservation) +
                      " bytes: accepted is up to its memory and its limit");
  if (config.limit != 0 && config.limit < kLeastLimit)
    throw ConfigError(who + "a limit of " + std::to_string(config.limit) + " bytes: accepted is " +
                      std::to_string(kLeastLimit) + " or more, or 0 for none");
  if (config.shares == 0 || config.shares > kMostShares)
    throw ConfigError(who + std::to_string(config.shares) + " shares: accepted is 1 to " + std::to_string(kMostShares));
  if (config.mode == MmuMode::native && config.memory > memory.bytes().size())
    throw ConfigError(who + "a native machine of " + std::to_string(config.memory) +
                      " bytes does not fit into the host's " + std::to_string(memory.bytes().size()) +
                      " bytes: it has no hypervisor that could overcommit");
  return config;
}

}  // namespace

Vm::Vm(Host& host, std::uint16_t id, const VmConfig& config)
    : host_(host), id_(id), config_(checked(config, host.memory)) {
  if (is_native()) {
    const int alignment = frames() >= page_frames(PageSize::k1G) ? 18 : frames() >= page_frames(PageSize::k2M) ? 9 : 0;
    const auto window = host_.memory.allocate_range(frames(), alignment, memory::FrameUse::guest, id_);
    if (!window)
      throw OutOfMemory("VM '" + config_.name + "': no " + std::to_string(config_.memory) +
                        " contiguous free bytes left in the machine for a native machine");
    window_ = *window;
    resident_ = frames();
  } else {
    second_stage_.emplace(host_.memory, id_, config_.cpu.nested_format, config_.cpu.host_levels);
  }
  create_vcpus();
  if (config_.mode == MmuMode::shadow) shadow_ = std::make_unique<ShadowMmu>(*this, config_.shadow);
  if (config_.mode == MmuMode::shadow && config_.shadow.direct_faults)  // no walk may find what is no shadow root
    for (const auto& vcpu : vcpus_) shadow_->on_cr3_write(*vcpu, 0);
  if (config_.mode == MmuMode::software_tlb) software_tlb_ = std::make_unique<SoftwareTlb>(*this, config_.software_tlb);
}

Vm::~Vm() {
  shadow_.reset();
  if (is_native()) {
    host_.memory.free_range(window_, frames());
  } else {
    release_all(*this);
  }
}

void Vm::set_reclaim_source(std::unique_ptr<ReclaimSource> source) { reclaim_source_ = std::move(source); }

void Vm::set_scan(std::unique_ptr<FreeListScan> scan) { scan_ = std::move(scan); }

void Vm::create_vcpus() {
  for (int index = 0; index < config_.vcpus; ++index) {
    auto vcpu = std::make_unique<hw::Vcpu>(index, host_.clock, host_.memory.bytes(), window(),
                                           is_native() ? config_.memory : host_.memory.bytes().size(), config_.cpu);
    hw::State state = vcpu->mmu().state();
    state.cr4 |= hw::kCr4Pge | hw::kCr4Pcide | hw::kCr4Smep | hw::kCr4Smap;
    state.vpid = vpid();
    if (config_.mode == MmuMode::nested) {
      state.second_stage = second_stage_->kind();
      state.second_stage_root = second_stage_->root_pointer();
    }
    vcpu->mmu().set_state(state);
    const bool shadows = config_.mode == MmuMode::shadow;
    if (shadows) vcpu->mmu().set_linear_tables(hw::LinearTables::hypervisor);
    const bool refills = config_.mode == MmuMode::software_tlb;
    if (refills) vcpu->mmu().set_refill(hw::Refill::kernel);
    vcpu->connect(*this, {.cr3_write = shadows || refills, .invlpg = shadows || refills});
    vcpus_.push_back(std::move(vcpu));
  }
}

Counters Vm::counters() const {
  Counters sum;
  for (const auto& vcpu : vcpus_) sum += vcpu->mmu().counters();
  return sum;
}

void Vm::reset_counters() {
  for (const auto& vcpu : vcpus_) vcpu->mmu().reset_counters();
}

Hpa Vm::machine_address(Gpa gpa) const {
  if (!contains(gpa.frame())) return hw::kNoMemory;
  if (is_native()) return window() + gpa.value;
  const SecondStage::Leaf leaf = second_stage_->find(gpa.frame());
  return leaf.present ? second_stage_->target(leaf, gpa.frame()).address() + gpa.offset() : hw::kNoMemory;
}

std::uint64_t Vm::read_guest_entry(Gpa at) const {
  if (!contains(at.frame())) return ~std::uint64_t{0};
  std::uint64_t entry = 0;
  read_guest(at, std::as_writable_bytes(std::span(&entry, 1)));
  return entry;
}

void Vm::read_guest(Gpa at, std::span<std::byte> out) const {
  const SecondStage::Leaf leaf = is_native() ? SecondStage::Leaf{} : second_stage_->find(at.frame());
  if (SecondStage::is_swapped(leaf)) {
    if (!host_.swap.load(SecondStage::slot_of(leaf), at.offset(), out))
      throw VmemError("VM '" + config_.name + "': the host's swap file does not give back what gPFN " +
                      hex(at.frame().value) + " held");
    return;
  }
  if (is_native() || leaf.present) {
    const std::uint64_t lies =
        is_native() ? window().value + at.value : second_stage_->target(leaf, at.frame()).address().value + at.offset();
    host_.memory.bytes().read(lies, out);
  } else {
    std::fill(out.begin(), out.end(), std::byte{0});
  }
}

void Vm::write_guest_entry(Gpa at, std::uint64_t entry) {
  host_.memory.bytes().store<std::uint64_t>(machine_address(at).value, entry);
}

Hpa Vm::probe(hw::Vcpu& vcpu, Gva gva, AccessKind access) {
  if (is_native()) {
    Hpa at;
    return vcpu.probe(gva, access, at) ? at : hw::kNoMemory;
  }
  // Not the processor's own walk: that ends at a guest table that the host has swapped out or shares.
  const hw::State guest = shadow_ != nullptr ? shadow_->guest_state(vcpu) : vcpu.mmu().state();
  if (!hw::canonical(gva.value, guest.address_bits())) return hw::kNoMemory;
  const GuestWalk walk = walk_guest(*this, guest, gva, access);
  return walk.allowed ? machine_address(walk.gpa) : hw::kNoMemory;
}

void Vm::flush_processors() {
  for (const auto& vcpu : vcpus_) {
    if (config_.mode == MmuMode::nested) {
      vcpu->mmu().invept_single(second_stage_->root_pointer());
    } else {
      vcpu->mmu().invvpid(hw::Mmu::InvvpidType::single, vpid(), Gva{0});
    }
    vcpu->forget_guest_physical();
  }
  if (software_tlb_ != nullptr) software_tlb_->flush();
}

hw::Outcome Vm::on_fault(hw::Vcpu& vcpu, hw::Fault& fault) {
  if (is_killed_) return hw::Outcome::kill;
  host_.reclaim->before_exit(*this);
  const hw::Outcome outcome = dispatch(*this, vcpu, fault);
  if (outcome != hw::Outcome::kill || is_native()) return outcome;
  return !is_killed_ && host_.reclaim->last_resort(*this) ? hw::Outcome::retry : hw::Outcome::kill;
}

std::byte* Vm::on_guest_physical(hw::Vcpu& vcpu, Gpa gpa, bool store) {
  const Gfn gfn = gpa.frame();
  if (!contains(gfn) || (store && shadow_ != nullptr && shadow_->is_traced(gfn))) return nullptr;
  if (!is_native() && !provide_to_kernel(vcpu, gfn, store))
    throw OutOfMemory("the guest kernel touched guest-physical " + hex(gpa.value) +
                      " and the host has no memory left for it");
  return host_.memory.bytes().data() + align_down(machine_address(gpa).value, kPageSize);
}

Provided Vm::provide_at_last(hw::Vcpu& vcpu, Gfn gfn, bool store) {
  for (;;) {
    if (is_killed_) return Provided::lost;
    host_.reclaim->before_exit(*this);
    const Provided provided = provide(*this, vcpu, gfn, store);
    if (provided != Provided::no_memory) return provided;
    host_.reclaim->last_resort(*this);
  }
}

bool Vm::provide_to_kernel(hw::Vcpu& vcpu, Gfn gfn, bool store) {
  const Provided provided = provide_at_last(vcpu, gfn, store);
  if (provided != Provided::nothing_missing)
    // The kernel's own mapping is shadowed, or refilled by the hypervisor, as well.
    vcpu.count(shadow_ != nullptr ? ExitReason::shadow_page_fault : ExitReason::tlb_refill);
  return provided != Provided::lost;
}

void Vm::on_emulated_store(hw::Vcpu& vcpu, Gpa gpa, const void* bytes, std::size_t size) {
  if (shadow_ == nullptr || !contains(gpa.frame())) return;  // no memory there: the store goes nowhere
  vcpu.count(ExitReason::page_table_write);
  if (provide_at_last(vcpu, gpa.frame(), true) != Provided::lost) shadow_->on_traced_store(gpa, bytes, size);
}

Hpa Vm::emulated_address(Gpa gpa) { return machine_address(gpa); }

void Vm::on_cr3_write(hw::Vcpu& vcpu, std::uint64_t value) {
  if (is_killed_) return;
  if (shadow_ != nullptr) {
    host_.reclaim->before_exit(*this);
    shadow_->on_cr3_write(vcpu, value);
  }
  if (software_tlb_ != nullptr) software_tlb_->on_cr3_write(vcpu, value);
}

std::uint32_t Vm::on_io_read(hw::Vcpu& vcpu, std::uint32_t port) {
  if (!is_native()) vcpu.count(ExitReason::io);
  return devices_.read(vcpu, port);
}

void Vm::on_io_write(hw::Vcpu& vcpu, std::uint32_t port, std::uint32_t value) {
  if (!is_native()) vcpu.count(ExitReason::io);
  devices_.write(vcpu, port, value);
}

std::uint64_t Vm::on_hypercall(hw::Vcpu& vcpu, hw::Hypercall number, std::uint64_t first, std::uint64_t second) {
  if (is_native() || is_killed_) return hw::kNoHypercall;
  vcpu.count(ExitReason::hypercall);
  switch (number) {
    case hw::Hypercall::none:
      break;
    case hw::Hypercall::free_block:
      return free_hints_.on_block(vcpu, first, second);
    case hw::Hypercall::free_batch:
      return free_hints_.on_batch(vcpu, Gpa{first}, second);
  }
  return hw::kNoHypercall;
}

void Vm::on_interrupt(hw::Vcpu& vcpu) {
  if (!is_native()) vcpu.count(ExitReason::interrupt);
  devices_.before_interrupt(vcpu);
}

void Vm::on_invlpg(hw::Vcpu& vcpu, Gva gva) {
  if (shadow_ != nullptr) shadow_->on_invlpg(vcpu, gva);
  if (software_tlb_ != nullptr) software_tlb_->on_invlpg(vcpu, gva);
}

void Vm::on_tlb_write(hw::Vcpu& vcpu, const hw::TlbWrite& write) {
  if (software_tlb_ == nullptr) return;  // no such instruction here
  vcpu.count(ExitReason::tlb_write);
  software_tlb_->on_tlb_write(vcpu, write);
}

}  // namespace vmem::vmm
