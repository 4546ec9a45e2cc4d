// Random updates of a 256 MiB table, a cache line each: 65,536 data pages in random order, far beyond any L2 TLB.
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

enum { LINE = 8, UPDATES = 150000 };
static const uint64_t kWords = (256ull << 20) / sizeof(uint64_t);

int main(void) {
  uint64_t* table = mmap(NULL, kWords * sizeof *table, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (table == MAP_FAILED) return 1;
  uint64_t state = 88172645463325252ull, sum = 0;
  for (int i = 0; i < UPDATES; ++i) {
    state ^= state << 13;  // xorshift64 (Marsaglia 2003)
    state ^= state >> 7;
    state ^= state << 17;
    uint64_t* line = table + (state % kWords) / LINE * LINE;
    for (int word = 0; word < LINE; ++word) sum += line[word] ^= state + (uint64_t)word;
  }
  printf("%llx\n", (unsigned long long)sum);
  return 0;
}
