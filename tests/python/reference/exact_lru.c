/* Two levels of set-associative TLBs with true LRU, and nothing else: no page tables, no faults, no walks.
   It sees pages only. Every first reference of a run is looked up, the others hit what it left in its L1. */
#include <stdint.h>

struct run {
  uint64_t page; /* the kind of the first reference in bits 1:0; 2 is a fetch */
  uint32_t loads, stores;
};

struct tlb {
  uint64_t *pages, *used; /* one per way, set by set; used 0: empty */
  uint64_t sets, ways;
};

struct counts {
  uint64_t loads, stores, fetches, l1i_hits, l1d_hits, l2_hits, tlb_misses;
};

static uint64_t now;

static int find(struct tlb* tlb, uint64_t page) {
  uint64_t first = page % tlb->sets * tlb->ways;
  for (uint64_t way = first; way < first + tlb->ways; way++)
    if (tlb->used[way] && tlb->pages[way] == page) {
      tlb->used[way] = ++now;
      return 1;
    }
  return 0;
}

static void insert(struct tlb* tlb, uint64_t page) {
  uint64_t first = page % tlb->sets * tlb->ways, oldest = first;
  for (uint64_t way = first; way < first + tlb->ways; way++)
    if (tlb->used[way] < tlb->used[oldest]) oldest = way;
  tlb->pages[oldest] = page;
  tlb->used[oldest] = ++now;
}

void replay(struct tlb* l1i, struct tlb* l1d, struct tlb* l2, const struct run* runs, uint64_t count,
            struct counts* out) {
  for (uint64_t i = 0; i < count; i++) {
    int fetch = (runs[i].page & 3) == 2;
    uint64_t page = runs[i].page >> 12, references = (uint64_t)runs[i].loads + runs[i].stores;
    struct tlb* l1 = fetch ? l1i : l1d;
    uint64_t* l1_hits = fetch ? &out->l1i_hits : &out->l1d_hits;
    *(fetch ? &out->fetches : &out->loads) += runs[i].loads;
    out->stores += runs[i].stores;
    *l1_hits += references - 1;
    if (find(l1, page)) {
      ++*l1_hits;
      continue;
    }
    if (find(l2, page)) {
      out->l2_hits++;
    } else {
      out->tlb_misses++;
      insert(l2, page);
    }
    insert(l1, page);
  }
}
