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

enum { WORDS = 125, STEP = 7 };

/* 1003 bytes that belong to no alignment: fields, and copies, that lie in two pages. */
struct __attribute__((packed)) record {
  uint8_t tag;
  uint16_t key;
  uint64_t words[WORDS]; /* one in STEP is set */
};

/* The places of the records in the order of their keys, stable. */
static void radix_sort(const struct record* records, uint32_t* places, uint32_t* room, size_t count) {
  for (int shift = 0; shift < 16; shift += 8) {
    uint32_t ends[256] = {0}, sum = 0;
    for (size_t i = 0; i < count; i++) ends[(records[places[i]].key >> shift) & 0xff]++;
    for (size_t i = 0; i < 256; i++) {
      uint32_t here = ends[i];
      ends[i] = sum;
      sum += here;
    }
    for (size_t i = 0; i < count; i++) room[ends[(records[places[i]].key >> shift) & 0xff]++] = places[i];
    uint32_t* other = places;
    places = room;
    room = other;
  }
}

static uint64_t hash(const void* data, size_t length) { /* FNV-1a of some words, at whatever alignment */
  const uint8_t* bytes = data;
  uint64_t h = 0xcbf29ce484222325u, word;
  for (size_t i = 0; i + 8 <= length; i += 36) {
    memcpy(&word, bytes + i, 8);
    h = (h ^ word) * 0x100000001b3u;
  }
  return h;
}

static uint64_t check_of(const struct record* record) {
  uint64_t check = record->key;
  for (int i = 0; i < WORDS; i += STEP) check += record->words[i] * (uint64_t)(i + 1);
  return check;
}

int main(int argc, char** argv) {
  size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
  state = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
  if (count == 0 || count > 1000000) return 1;
  struct record *records = calloc(count, sizeof *records), *sorted = malloc(count * sizeof *sorted);
  uint32_t *places = malloc(count * sizeof *places), *room = malloc(count * sizeof *room);
  if (records == NULL || sorted == NULL || places == NULL || room == NULL) return 2;
  uint64_t sum = 0, sorted_sum = 0;
  for (size_t i = 0; i < count; i++) {
    places[i] = (uint32_t)i;
    records[i].tag = (uint8_t)i;
    records[i].key = (uint16_t)next();
    for (int word = 0; word < WORDS; word += STEP) records[i].words[word] = state * (uint64_t)(word | 1);
    sum += check_of(&records[i]);
  }
  printf("unsorted %016llx\n", (unsigned long long)hash(records, count * sizeof *records));
  radix_sort(records, places, room, count);
  for (size_t i = 0; i < count; i++) sorted[i] = records[places[i]];
  for (size_t i = 0; i < count; i++) {
    if (i > 0 && sorted[i - 1].key > sorted[i].key) return 3;
    sorted_sum += check_of(&sorted[i]);
  }
  if (sum != sorted_sum) return 4;
  printf("sorted   %016llx\n", (unsigned long long)hash(sorted, count * sizeof *sorted));
  memmove((char*)records + 5, sorted, (count - 1) * sizeof *sorted); /* by REP MOVS or SSE, across pages */
  printf("moved    %016llx\n", (unsigned long long)hash((char*)records + 5, (count - 1) * sizeof *records));
  double mean = 0;
  for (size_t i = 0; i < count; i++) mean += (double)sorted[i].key / (double)count;
  printf("mean %.6e of %zu\n", mean, count);
  free(room);
  free(places);
  free(sorted);
  free(records);
  return 0;
}
