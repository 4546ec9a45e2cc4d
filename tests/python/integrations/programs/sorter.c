/* Sorts, hashes and checks itself; prints what any correct machine prints. Arguments: how many numbers, a seed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state;

static uint64_t next(void) { /* splitmix64 */
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/* 251 bytes that belong to no alignment: fields, and copies, that lie in two pages. */
struct __attribute__((packed)) record {
  uint8_t tag;
  uint16_t key;
  uint64_t words[31];
};

static void radix_sort(struct record *from, struct record *to, size_t count) {
  for (int shift = 0; shift < 16; shift += 8) {
    uint32_t ends[256] = {0}, sum = 0;
    for (size_t i = 0; i < count; i++) ends[(from[i].key >> shift) & 0xff]++;
    for (size_t i = 0; i < 256; i++) {
      uint32_t here = ends[i];
      ends[i] = sum;
      sum += here;
    }
    for (size_t i = 0; i < count; i++) to[ends[(from[i].key >> shift) & 0xff]++] = from[i];
    struct record *other = from;
    from = to;
    to = other;
  }
}

static uint64_t hash(const void *data, size_t length) { /* FNV-1a of some words, at whatever alignment */
  const uint8_t *bytes = data;
  uint64_t h = 0xcbf29ce484222325u, word;
  for (size_t i = 0; i + 8 <= length; i += 36) {
    memcpy(&word, bytes + i, 8);
    h = (h ^ word) * 0x100000001b3u;
  }
  return h;
}

static uint64_t check_of(const struct record *record) {
  uint64_t check = record->key;
  for (int i = 0; i < 31; i += 5) check += record->words[i] * (uint64_t)(i + 1);
  return check;
}

int main(int argc, char **argv) {
  size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
  state = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
  struct record *records = malloc(count * sizeof *records), *room = malloc(count * sizeof *room);
  if (count == 0 || count > 1000000 || records == NULL || room == NULL) return 2;
  uint64_t sum = 0, sorted_sum = 0;
  for (size_t i = 0; i < count; i++) {
    records[i].tag = (uint8_t)i;
    records[i].key = (uint16_t)next();
    for (int word = 0; word < 31; word++) records[i].words[word] = state * (uint64_t)(word | 1);
    sum += check_of(&records[i]);
  }
  printf("unsorted %016llx\n", (unsigned long long)hash(records, count * sizeof *records));
  radix_sort(records, room, count);
  for (size_t i = 0; i < count; i++) {
    if (i > 0 && records[i - 1].key > records[i].key) return 3;
    sorted_sum += check_of(&records[i]);
  }
  if (sum != sorted_sum) return 4;
  memmove((char *)room + 5, records, (count - 1) * sizeof *records); /* by REP MOVS or SSE, across pages */
  printf("sorted   %016llx\n", (unsigned long long)hash(records, count * sizeof *records));
  printf("moved    %016llx\n", (unsigned long long)hash((char *)room + 5, (count - 1) * sizeof *room));
  double mean = 0;
  for (size_t i = 0; i < count; i++) mean += (double)records[i].key / (double)count;
  printf("mean %.6e of %zu\n", mean, count);
  free(room);
  free(records);
  return 0;
}
