// Calls of the C interface at random, valid and invalid ones: none may crash, hang or leak, and what was refused must
// have left the host consistent. Run it under sanitizers.
//
//   capi_random SEED SECONDS [FILE…]  calls from a random source, or, as a fuzzer would, from the bytes of files
//
// With -DVMEM_LIBFUZZER it is a target for libFuzzer instead.
#include "random_calls.hpp"

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

#ifdef VMEM_LIBFUZZER

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  vmem::test::Source source({data, data + size}, 0);
  vmem::test::make_calls(source);
  return 0;
}

#else

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace {

std::uint64_t seed = 0;

void tell_seed() { std::fprintf(stderr, "capi_random: the sequence of seed %" PRIu64 "\n", seed); }

/// Whatever ends this program early says which sequence did.
void tell_seed_at_the_end() {
  std::atexit([] {
    if (seed != 0) tell_seed();
  });
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_set_death_callback(tell_seed);
#endif
}

}  // namespace

int main(int count, char** words) {
  tell_seed_at_the_end();
  const std::uint64_t first = count > 1 ? std::strtoull(words[1], nullptr, 10) : 1;
  const auto duration = std::chrono::seconds(count > 2 ? std::atoi(words[2]) : 5);
  for (int i = 3; i < count; ++i) {
    std::ifstream file(words[i], std::ios::binary);
    vmem::test::Source source({std::istreambuf_iterator<char>(file), {}}, 0);
    vmem::test::make_calls(source);
  }
  const auto end = std::chrono::steady_clock::now() + duration;
  vmem::test::Tally tally;
  seed = first;
  do {
    vmem::test::Source source({}, seed);
    tally += vmem::test::make_calls(source);
    ++seed;
  } while (std::chrono::steady_clock::now() < end);
  std::printf("%" PRIu64 " sequences, %" PRIu64 " calls, of them %" PRIu64 " done, %" PRIu64 " refused\n", seed - first,
              tally.done + tally.refused, tally.done, tally.refused);
  // Neither all nor none: otherwise the generator has lost its way.
  CHECK(tally.done > tally.refused / 10 && tally.refused > tally.done / 100);
  seed = 0;
  return 0;
}

#endif
