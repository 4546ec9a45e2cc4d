// Jacobi sweeps of a 5-point stencil over two 512 x 512 grids of doubles: a row is a page, so each point touches four
// pages in turn.
#include <stdio.h>

enum { SIDE = 512, SWEEPS = 3 };
static double grids[2][SIDE][SIDE] __attribute__((aligned(4096)));

int main(void) {
  for (int i = 0; i < SIDE; ++i) grids[0][0][i] = grids[1][0][i] = 1.0;
  for (int sweep = 0; sweep < SWEEPS; ++sweep) {
    double (*from)[SIDE] = grids[sweep % 2], (*to)[SIDE] = grids[1 - sweep % 2];
    for (int y = 1; y < SIDE - 1; ++y)
      for (int x = 1; x < SIDE - 1; ++x)
        to[y][x] = 0.25 * (from[y - 1][x] + from[y][x - 1] + from[y][x + 1] + from[y + 1][x]);
  }
  printf("%g\n", grids[0][2][SIDE / 2]);
  return 0;
}
