// What a CPU emulator needs of the process it runs: its memory, access by access.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "hw/vcpu.hpp"
#include "sim/emulator/code_copies.hpp"
#include "sim/emulator/string_instruction.hpp"
#include "sim/guest.hpp"

namespace vmem::sim {

/// Why an emulator must not go on.
enum class PortStop : std::uint8_t {
  none,
  instructions,  ///< as many as it was to execute have begun, or very many repetitions were made
  reload,        ///< the code it translated is not what memory holds: it starts at `pc` again, its TLB empty
  refused,       ///< an access was answered with SIGSEGV, or the process or the VM is at its end
};

/// Every fetch, load and store of an emulated CPU is made here first, in its order, on a vCPU: translated in the VM's
/// mode, counted, its faults served. The bytes move here as well, at that moment, so that the emulator holds no
/// translation that host or guest could make stale.
///
/// What counts as one access (docs/design/machine-code.md):
/// - a fetch for each instruction, and one more if its bytes go on in the next page; a repeated string instruction is
///   fetched once;
/// - a load or store for each operand, and one more if it goes on in the next page; an operand of 10 or 16 bytes, which
///   emulators move in two parts, is one.
class CpuPort {
 public:
  /// A slice of at most so many instructions begins, at `pc`. Nothing is known of what happened since the last one.
  void begin(memory::PhysicalMemory& memory, Guest& guest, hw::Vcpu& vcpu, std::uint64_t pc,
             std::uint64_t instructions);

  /// An instruction is about to execute; repeated string instructions say so before each repetition. False: it must
  /// not, `stop` says why.
  bool fetch(Gva pc, std::uint64_t size);
  /// 1 to 8 bytes. Once stopped, loads give nothing and stores do nothing.
  void load(Gva at, std::uint64_t size);
  void store(Gva at, std::uint64_t value, std::uint64_t size);
  /// Of the bytes of the latest load those at `at`; zeros beside them.
  std::uint64_t loaded(Gva at, std::uint64_t size) const;

  /// The offset in `code().data()` of the page's copy, which is made without any access if there is none.
  std::uint64_t code_offset(Gva page);
  CodeCopies& code() { return code_; }

  PortStop stop() const { return stop_; }
  void restart() { stop_ = PortStop::none; }
  /// Of the instruction that was fetched last.
  std::uint64_t pc() const { return pc_; }
  /// Begun since the port exists.
  std::uint64_t instructions() const { return instructions_; }
  /// What this port has added to the vCPU's counters.
  struct Accesses {
    std::uint64_t loads = 0, stores = 0, fetches = 0;
  };
  const Accesses& accesses() const { return accesses_; }
  /// The slice is over.
  void end();
  /// The access that was refused.
  Gva refused_at() const { return refused_at_; }
  AccessKind refused_kind() const { return refused_kind_; }

 private:
  /// The operand that the latest access was part of.
  struct Operand {
    AccessKind kind = AccessKind::fetch;
    Gva end;
    Hpa page;  ///< where its last page is
    std::uint64_t part = 0, bytes = 0;
  };
  static constexpr std::uint64_t kNothing = ~std::uint64_t{0};

  void begin_instruction(Gva pc);
  bool fetch_page(Gva at, int part);
  bool access(Gva at, AccessKind kind, Hpa& hpa);
  bool again(Gva at, AccessKind kind, Hpa& hpa);
  bool refuse(Gva at, AccessKind kind);  ///< false
  /// The first page of an operand's part: no access of its own if it goes on with the operand before.
  bool reach(Gva at, std::uint64_t size, AccessKind kind, Hpa& hpa);
  bool goes_on(Gva at, std::uint64_t size, AccessKind kind);
  void note_part(Gva at, std::uint64_t size, AccessKind kind, Hpa last, bool continues);
  const StringInstruction& instruction();
  void read(Hpa hpa, std::span<std::byte> out) const;
  void write(Gva at, Hpa hpa, std::span<const std::byte> bytes);
  /// Both pages of a store that has two, at the same moment.
  bool reach_both(Gva at, std::uint64_t size, Hpa& first, Hpa& second);

  memory::PhysicalMemory* memory_ = nullptr;
  Guest* guest_ = nullptr;
  hw::Vcpu* vcpu_ = nullptr;
  CodeCopies code_;
  PortStop stop_ = PortStop::none;
  Accesses accesses_, before_;  ///< of all slices; the vCPU's counters when this one began
  std::uint64_t left_ = 0, repetitions_left_ = 0, instructions_ = 0;
  std::uint64_t pc_ = kNothing;
  std::optional<StringInstruction> decoded_;  ///< of pc
  int fetched_ = 0;                           ///< pages of the instruction at pc
  bool restarts_ = false;                     ///< the next fetch is that of pc again
  std::uint64_t current_page_ = kNothing;
  Operand operand_;
  std::array<std::byte, 8> loaded_{};
  Gva loaded_at_;
  std::uint64_t loaded_size_ = 0;
  Gva refused_at_;
  AccessKind refused_kind_ = AccessKind::load;
};

}  // namespace vmem::sim
