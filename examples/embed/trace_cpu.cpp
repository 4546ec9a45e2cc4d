// The simulator of trace_cpu.c in C++: the same processor, the same operating system, the same report.
//
//   c++ -std=c++20 trace_cpu.cpp -o trace_cpu $(python -m vmem --cflags --libs)
//   valgrind --tool=lackey --trace-mem=yes ls 2>&1 | ./trace_cpu zen3
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>
#include <vmem/mmu.hpp>

namespace {

constexpr std::uint64_t kPage = 4096, kMemory = 256 << 20;
constexpr std::uint64_t kMissCycles = 180, kEntryCycles = 30, kFaultCycles = 1500;

/// Gives a page when it is first touched.
class OperatingSystem {
 public:
  explicit OperatingSystem(std::vector<std::byte>& memory) : memory_(memory), root_(new_frame()) {}

  std::uint64_t root() const { return root_; }
  std::uint64_t page_faults() const { return page_faults_; }
  /// Nothing need be invalidated: what is not present is never cached.
  void serve_page_fault(std::uint64_t va) {
    ++page_faults_;
    std::uint64_t table = root_;
    for (int level = 4;; --level) {
      std::byte* const at = memory_.data() + table + (va >> (12 + 9 * (level - 1)) & 511) * 8;
      std::uint64_t entry;
      std::memcpy(&entry, at, sizeof entry);
      if ((entry & 1) == 0) {
        entry = new_frame() | kPresentWritableUser;
        std::memcpy(at, &entry, sizeof entry);
      }
      if (level == 1) return;
      table = entry & ~std::uint64_t{0xfff};
    }
  }

 private:
  static constexpr std::uint64_t kPresentWritableUser = 7;

  std::uint64_t new_frame() {
    if (next_frame_ + kPage > memory_.size()) throw std::runtime_error("the program needs more memory");
    next_frame_ += kPage;
    return next_frame_ - kPage;
  }

  std::vector<std::byte>& memory_;
  std::uint64_t next_frame_ = kPage;
  std::uint64_t root_;
  std::uint64_t page_faults_ = 0;
};

/// 32 KiB, eight ways, least recently used, physical tags.
class Cache {
 public:
  /// False: a miss.
  bool look_up(std::uint64_t pa) {
    auto& set = sets_[pa / 64 % sets_.size()];
    const std::uint64_t tag = pa / 64 + 1;  // 0 is an empty way
    auto way = std::find(set.begin(), set.end(), tag);
    const bool hit = way != set.end();
    if (!hit) way = set.end() - 1;
    std::rotate(set.begin(), way, way + 1);
    set.front() = tag;
    return hit;
  }

 private:
  std::array<std::array<std::uint64_t, 8>, 64> sets_{};
};

class Processor {
 public:
  explicit Processor(const char* cpu) : memory_(kMemory), system_(memory_), mmu_(memory_, cpu) {
    vmem_mmu_state state = mmu_.state();
    state.cr3 = system_.root();
    mmu_.set_state(state);
  }

  /// One line of a lackey trace.
  void execute(const std::string& line) {
    std::istringstream words(line);
    char what = 0;
    std::uint64_t va = 0;
    if (!(words >> what >> std::hex >> va) || words.get() != ',') return;
    if (what == 'I') reference(va, VMEM_FETCH);
    if (what == 'L' || what == 'M') reference(va, VMEM_LOAD);
    if (what == 'S' || what == 'M') reference(va, VMEM_STORE);
  }

  void report() const {
    std::cout << "instructions " << instructions_ << "\nreferences " << references_ << "\ncycles "
              << cycles_ + mmu_.counter("walk_refs") * kEntryCycles << "\ncache_misses " << cache_misses_
              << "\npage_faults " << system_.page_faults() << '\n';
    for (std::uint32_t i = 0; const char* name = vmem_counter_name(i); ++i)
      std::cout << "mmu." << name << ' ' << mmu_.counter(name) << '\n';
  }

 private:
  void reference(std::uint64_t va, std::uint32_t kind) {
    ++references_;
    ++cycles_;
    const std::uint64_t pa = translate(va, kind);
    if (kind == VMEM_FETCH) {
      ++instructions_;
    } else if (!cache_.look_up(pa)) {
      ++cache_misses_;
      cycles_ += kMissCycles;
    }
  }

  std::uint64_t translate(std::uint64_t va, std::uint32_t kind) {
    for (;;) {
      const vmem_result result = mmu_.access(va, kind);
      if (result.fault == VMEM_NO_FAULT) return result.pa;
      if (result.fault != VMEM_PAGE_FAULT) throw std::runtime_error("fault " + std::to_string(result.fault));
      cycles_ += kFaultCycles;
      system_.serve_page_fault(va);
    }
  }

  std::vector<std::byte> memory_;
  OperatingSystem system_;
  vmem::Mmu mmu_;
  Cache cache_;
  std::uint64_t instructions_ = 0, references_ = 0, cycles_ = 0, cache_misses_ = 0;
};

}  // namespace

int main(int count, char** words) {
  try {
    Processor processor(count == 2 ? words[1] : "skylake-sp");
    for (std::string line; std::getline(std::cin, line);) processor.execute(line);
    processor.report();
  } catch (const std::exception& error) {
    std::cerr << "trace_cpu: " << error.what() << '\n';
    return 1;
  }
}
