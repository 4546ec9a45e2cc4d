// Quicksort of 60 Ki integers: a footprint of 60 data pages, scanned from both ends. Almost every reference hits an L1
// or L2 TLB.
#include <stdint.h>
#include <stdio.h>

enum { COUNT = 60 * 1024, SMALL = 12 };
static int32_t values[COUNT];

static void insertion_sort(int32_t* first, int32_t* last) {
  for (int32_t* next = first + 1; next <= last; ++next) {
    const int32_t value = *next;
    int32_t* hole = next;
    for (; hole > first && hole[-1] > value; --hole) *hole = hole[-1];
    *hole = value;
  }
}

static void quicksort(int32_t* first, int32_t* last) {
  while (last - first > SMALL) {
    const int32_t pivot = first[(last - first) / 2];
    int32_t *left = first, *right = last;
    while (left <= right) {
      while (*left < pivot) ++left;
      while (*right > pivot) --right;
      if (left > right) break;
      const int32_t swap = *left;
      *left++ = *right;
      *right-- = swap;
    }
    quicksort(first, right);
    first = left;
  }
  insertion_sort(first, last);
}

int main(void) {
  uint32_t state = 1;
  for (int i = 0; i < COUNT; ++i) values[i] = (int32_t)(state = state * 1664525u + 1013904223u);
  quicksort(values, values + COUNT - 1);
  for (int i = 1; i < COUNT; ++i)
    if (values[i - 1] > values[i]) return 1;
  printf("%d %d\n", values[0], values[COUNT - 1]);
  return 0;
}
