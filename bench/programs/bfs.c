// Breadth-first search of a small-world graph: 80,000 vertices of 128 bytes (10 MB, 2,500 pages), most edges to near
// vertices.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { VERTICES = 80000, DEGREE = 4, NEAR = 48, FAR_IN_256 = 32 };

struct vertex {
  uint32_t parent, depth;
  uint32_t edges[DEGREE];
  uint8_t payload[128 - 4 * (2 + DEGREE)];
};

static uint32_t state = 12345;
static uint32_t next_random(void) {
  state ^= state << 13;  // xorshift32 (Marsaglia 2003)
  state ^= state >> 17;
  return state ^= state << 5;
}

static uint32_t neighbour(uint32_t of) {
  const uint32_t random = next_random();
  if ((random & 255) < FAR_IN_256) return (random >> 8) % VERTICES;
  return (of + VERTICES + (random >> 8) % (2 * NEAR + 1) - NEAR) % VERTICES;
}

int main(void) {
  struct vertex* vertices = calloc(VERTICES, sizeof *vertices);
  uint32_t* queue = malloc(VERTICES * sizeof *queue);
  if (!vertices || !queue) return 1;
  for (uint32_t v = 0; v < VERTICES; ++v)
    for (int e = 0; e < DEGREE; ++e) vertices[v].edges[e] = neighbour(v);

  uint32_t head = 0, tail = 0, deepest = 0;
  vertices[0].depth = 1;
  queue[tail++] = 0;
  while (head < tail) {
    const uint32_t v = queue[head++];
    for (int e = 0; e < DEGREE; ++e) {
      struct vertex* to = &vertices[vertices[v].edges[e]];
      if (to->depth) continue;
      to->depth = deepest = vertices[v].depth + 1;
      to->parent = v;
      queue[tail++] = (uint32_t)(to - vertices);
    }
  }
  printf("%u vertices, depth %u\n", tail, deepest);
  return 0;
}
