/* A tiny operating system's page tables, in 64 KiB of memory: 4 levels, one page mapped at a time. */
#ifndef TABLES_H
#define TABLES_H

#include <stdint.h>
#include <string.h>

enum { PRESENT = 1, WRITABLE = 2, USER = 4, ACCESSED = 0x20, DIRTY = 0x40 };

typedef struct tables {
  uint64_t words[8192]; /* the memory; the root is at 0x1000 */
  uint64_t next;        /* the first free page */
} tables;

static inline void tables_init(tables* t) {
  memset(t, 0, sizeof *t);
  t->next = 0x2000;
}

/* Where the entry of `va` at `level` stands in `t`, whose tables above it are made if need be. */
static inline uint64_t* tables_entry(tables* t, uint64_t va, int level) {
  uint64_t table = 0x1000;
  for (int at = 4;; --at) {
    uint64_t* entry = &t->words[table / 8 + (va >> (12 + 9 * (at - 1)) & 511)];
    if (at == level) return entry;
    if (!(*entry & PRESENT)) {
      *entry = t->next | PRESENT | WRITABLE | USER;
      t->next += 0x1000;
    }
    table = *entry & 0xffffffffff000;
  }
}

static inline void tables_map(tables* t, uint64_t va, uint64_t pa, uint64_t bits) {
  *tables_entry(t, va, 1) = pa | bits | PRESENT;
}

#endif
