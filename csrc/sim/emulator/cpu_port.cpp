#include "sim/emulator/cpu_port.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/error.hpp"

namespace vmem::sim {
namespace {

constexpr std::uint64_t kLongestInstruction = 15;
constexpr std::uint64_t kRepetitions = 1 << 22;  ///< in a slice, so that it ends: part of a second
constexpr std::uint64_t kLongestOperand = 16;

/// What a load from an address with no memory behind it gives.
const std::array<std::byte, kPageSize>& no_memory() {
  static const auto page = [] {
    std::array<std::byte, kPageSize> bytes;
    bytes.fill(std::byte{0xff});
    return bytes;
  }();
  return page;
}

Gva next_page(Gva at) { return {align_down(at.value, kPageSize) + kPageSize}; }
Hpa page_of(Hpa at) { return at == hw::kNoMemory ? at : Hpa{align_down(at.value, kPageSize)}; }
CodeCopies::Bytes page_bytes_at(const memory::PhysicalMemory& memory, Hpa at) {
  if (at == hw::kNoMemory) return no_memory();
  return std::span<const std::byte>(memory.data(), memory.size()).subspan(page_of(at).value).first<kPageSize>();
}

}  // namespace

void CpuPort::begin(memory::PhysicalMemory& memory, Guest& guest, hw::Vcpu& vcpu, std::uint64_t pc,
                    std::uint64_t instructions) {
  memory_ = &memory;
  guest_ = &guest;
  vcpu_ = &vcpu;
  left_ = instructions;
  repetitions_left_ = kRepetitions;
  stop_ = PortStop::none;
  code_.outdate_all();
  current_page_ = kNothing;
  operand_ = {};
  const Counters counters = vcpu.mmu().counters();
  before_ = {counters.loads, counters.stores, counters.fetches};
  if (pc != pc_) {  // somebody has set it
    pc_ = kNothing;
    restarts_ = false;
  }
}

void CpuPort::end() {
  const Counters counters = vcpu_->mmu().counters();
  accesses_.loads += counters.loads - before_.loads;
  accesses_.stores += counters.stores - before_.stores;
  accesses_.fetches += counters.fetches - before_.fetches;
}

bool CpuPort::fetch(Gva pc, std::uint64_t size) {
  if (stop_ != PortStop::none) return false;
  operand_ = {};
  const bool same = pc.value == pc_;
  const bool repeats = same && !restarts_ && instruction().repeats;
  const bool is_new = !repeats && !(same && restarts_);
  std::uint64_t& left = repeats ? repetitions_left_ : left_;
  if ((is_new || repeats) && left-- == 0) {
    stop_ = PortStop::instructions;
    return false;
  }
  if (is_new) begin_instruction(pc);
  restarts_ = false;
  if (repeats && pc.frame().value == current_page_) [[likely]]
    return true;
  if (!fetch_page(pc, 1)) return false;
  // A size beyond the longest: the bytes are no instruction.
  if (size > kLongestInstruction || pc.offset() + size <= kPageSize) return true;
  return fetch_page(next_page(pc), 2);
}

void CpuPort::begin_instruction(Gva pc) {
  ++instructions_;
  pc_ = pc.value;
  decoded_.reset();
  fetched_ = 0;
}

bool CpuPort::fetch_page(Gva at, int part) {
  const std::uint64_t page = at.frame().value;
  const bool counted = fetched_ >= part;
  const bool current = page == current_page_ || code_.is_current(page);
  if (!(counted && current)) {
    Hpa hpa;
    if (counted ? !again(at, AccessKind::fetch, hpa) : !access(at, AccessKind::fetch, hpa)) return false;
    fetched_ = std::max(fetched_, part);
    if (!current && !code_.compare(page, page_bytes_at(*memory_, hpa))) {
      decoded_.reset();
      restarts_ = true;
      stop_ = PortStop::reload;
      return false;
    }
  }
  current_page_ = page;
  return true;
}

std::uint64_t CpuPort::code_offset(Gva at) {
  const std::uint64_t page = at.frame().value;
  if (!code_.has(page)) {
    const Hpa hpa = guest_->vm->probe(*vcpu_, {page << kPageShift}, AccessKind::fetch);
    code_.add(page, hpa == hw::kNoMemory ? std::nullopt : std::optional(page_bytes_at(*memory_, hpa)));
  }
  return code_.offset(page);
}

bool CpuPort::access(Gva at, AccessKind kind, Hpa& hpa) {
  if (vcpu_->access(at, kind, hpa)) [[likely]]
    return true;
  return refuse(at, kind);
}

bool CpuPort::again(Gva at, AccessKind kind, Hpa& hpa) {
  return vcpu_->access_again(at, kind, hpa) || refuse(at, kind);
}

bool CpuPort::refuse(Gva at, AccessKind kind) {
  stop_ = PortStop::refused;
  refused_at_ = at;
  refused_kind_ = kind;
  return false;
}

const StringInstruction& CpuPort::instruction() {
  if (!decoded_) decoded_ = decode_string([&](int i) { return code_.at(Gva{pc_} + static_cast<std::uint64_t>(i)); });
  return *decoded_;
}

bool CpuPort::goes_on(Gva at, std::uint64_t size, AccessKind kind) {
  return kind == operand_.kind && at == operand_.end && operand_.part == 8 &&
         operand_.bytes + size <= kLongestOperand && at.offset() != 0 && !instruction().is_string;
}

bool CpuPort::reach(Gva at, std::uint64_t size, AccessKind kind, Hpa& hpa) {
  if (!goes_on(at, size, kind)) return access(at, kind, hpa);
  hpa = operand_.page == hw::kNoMemory ? hw::kNoMemory : operand_.page + at.offset();
  return true;
}

void CpuPort::note_part(Gva at, std::uint64_t size, AccessKind kind, Hpa last, bool continues) {
  operand_ = {kind, at + size, page_of(last), size, continues ? operand_.bytes + size : size};
}

void CpuPort::load(Gva at, std::uint64_t size) {
  if (stop_ != PortStop::none) return;
  const bool continues = goes_on(at, size, AccessKind::load);
  const std::uint64_t first = std::min(size, kPageSize - at.offset());
  loaded_at_ = at;
  loaded_size_ = size;
  Hpa hpa;
  if (!reach(at, size, AccessKind::load, hpa)) return;
  read(hpa, std::span(loaded_).first(first));  // at once: the second page's fault may take the first page away
  if (first < size) {
    if (!access(next_page(at), AccessKind::load, hpa)) return;
    read(hpa, std::span(loaded_).subspan(first, size - first));
  }
  note_part(at, size, AccessKind::load, hpa, continues);
}

void CpuPort::store(Gva at, std::uint64_t value, std::uint64_t size) {
  if (stop_ != PortStop::none) return;
  const bool continues = goes_on(at, size, AccessKind::store);
  std::array<std::byte, 8> bytes;
  std::memcpy(bytes.data(), &value, sizeof value);
  const std::uint64_t first = std::min(size, kPageSize - at.offset());
  Hpa hpa, last;
  if (first == size) {
    if (!reach(at, size, AccessKind::store, hpa)) return;
    last = hpa;
  } else {
    if (!reach_both(at, size, hpa, last)) return;
    write(next_page(at), last, std::span(bytes).subspan(first, size - first));
  }
  write(at, hpa, std::span(bytes).first(first));
  note_part(at, size, AccessKind::store, last, continues);
}

bool CpuPort::reach_both(Gva at, std::uint64_t size, Hpa& first, Hpa& second) {
  constexpr int kTries = 1000;
  const auto is_there = [&](Gva gva, Hpa hpa) {
    return hpa == hw::kNoMemory || guest_->vm->probe(*vcpu_, gva, AccessKind::store) == hpa;
  };
  const Gva next = next_page(at);
  if (!reach(at, size, AccessKind::store, first) || !access(next, AccessKind::store, second)) return false;
  // The fault of one may have taken the other away. Then the instruction starts over, as on a processor.
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const bool has_first = is_there(at, first);
    if (has_first && is_there(next, second)) return true;
    if (!has_first && !again(at, AccessKind::store, first)) return false;
    if (has_first && !again(next, AccessKind::store, second)) return false;
  }
  throw InvariantError("a store to two pages at gVA " + hex(at.value) + " has not found both in " +
                       std::to_string(kTries) + " attempts");
}

std::uint64_t CpuPort::loaded(Gva at, std::uint64_t size) const {
  std::uint64_t value = 0;
  for (std::uint64_t i = 0; i < size; ++i) {
    const std::uint64_t offset = at.value + i - loaded_at_.value;
    if (offset < loaded_size_) value |= std::uint64_t{static_cast<std::uint8_t>(loaded_[offset])} << (8 * i);
  }
  return value;
}

void CpuPort::read(Hpa hpa, std::span<std::byte> out) const {
  if (hpa == hw::kNoMemory) {
    std::fill(out.begin(), out.end(), std::byte{0xff});
  } else {
    std::memcpy(out.data(), memory_->data() + hpa.value, out.size());
  }
}

void CpuPort::write(Gva at, Hpa hpa, std::span<const std::byte> bytes) {
  if (hpa == hw::kNoMemory) return;
  memory_->mark_written(hpa.frame().value);
  std::memcpy(memory_->data() + hpa.value, bytes.data(), bytes.size());
  const std::uint64_t page = at.frame().value;
  code_.outdate(page);
  if (page == current_page_) current_page_ = kNothing;
}

}  // namespace vmem::sim
